rule fetch:
    input:
        targets=f"{ROAD}/{{shard}}/targets.parquet",
        images=survey_files,
    output:
        stack=f"{ROAD}/{{shard}}/cutouts.h5",
        table=f"{ROAD}/{{shard}}/fetch.parquet",
    log:
        f"{RESULTS}/logs/fetch/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch/{{sample}}/{{shard}}.jsonl"
    wildcard_constraints:
        sample=samples_with("survey"),
    # compute nodes have no network; what only reads files may run anywhere
    localrule: FETCH != "sources/files"
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10, 4),
    params:
        code=code(FETCH),
        cfg={
            "survey": SURVEY,
            "bands": BANDS,
            "data": DATA,
            "size_arcsec": SETTINGS["cutout"]["size_arcsec"],
        },
    script:
        f"../scripts/{FETCH}.py"


rule dust:
    input:
        targets=f"{ROAD}/{{shard}}/targets.parquet",
    output:
        f"{ROAD}/{{shard}}/dust.parquet",
    log:
        f"{RESULTS}/logs/dust/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/dust/{{sample}}/{{shard}}.jsonl"
    localrule: True
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10, 4),
    params:
        code=code("dust"),
    script:
        "../scripts/dust.py"
