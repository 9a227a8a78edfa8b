# what services know around the targets; a rule runs where the settings ask for its service
rule ned:
    input:
        targets=f"{ROAD}/{{shard}}/targets.parquet",
    output:
        f"{ROAD}/{{shard}}/ned.parquet",
    log:
        f"{RESULTS}/logs/ned/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/ned/{{sample}}/{{shard}}.jsonl"
    localrule: True
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=minutes(20, 2.0),
    params:
        code=code("ned"),
        cfg={"radius_arcsec": SETTINGS["crossmatch"]["service_radius_arcsec"]},
    script:
        "../scripts/ned.py"


rule simbad:
    input:
        targets=f"{ROAD}/{{shard}}/targets.parquet",
    output:
        f"{ROAD}/{{shard}}/simbad.parquet",
    log:
        f"{RESULTS}/logs/simbad/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simbad/{{sample}}/{{shard}}.jsonl"
    localrule: True
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=minutes(20, 2.0),
    params:
        code=code("simbad"),
        cfg={"radius_arcsec": SETTINGS["crossmatch"]["service_radius_arcsec"]},
    script:
        "../scripts/simbad.py"
