rule match:
    input:
        stack=f"{ROAD}/{{shard}}/cutouts.h5",
    output:
        stack=f"{ROAD}/{{shard}}/matched.h5",
        table=f"{ROAD}/{{shard}}/match.parquet",
    log:
        f"{RESULTS}/logs/match/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/match/{{sample}}/{{shard}}.jsonl"
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(700),
        runtime=minutes(5, 0.8),
    params:
        code=code("match"),
        cfg={**SETTINGS["match"], "pixel_scale": SURVEY["pixel_scale"]},
    script:
        "../scripts/match.py"


rule segment:
    input:
        stack=f"{ROAD}/{{shard}}/matched.h5",
        targets=f"{ROAD}/{{shard}}/targets.parquet",
    output:
        segments=f"{ROAD}/{{shard}}/segments.parquet",
        images=f"{ROAD}/{{shard}}/segments.h5",
        table=f"{ROAD}/{{shard}}/segment.parquet",
    log:
        f"{RESULTS}/logs/segment/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/segment/{{sample}}/{{shard}}.jsonl"
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=minutes(5, 0.5),
    params:
        code=code("segment"),
        cfg={**SETTINGS["segment"], "pixel_scale": SURVEY["pixel_scale"]},
    script:
        "../scripts/segment.py"
