rule targets:
    input:
        ancient(TARGETS),
    output:
        f"{ROAD}/{{shard}}/targets.parquet",
    log:
        f"{RESULTS}/logs/targets/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/targets/{{shard}}.jsonl"
    conda:
        "../../envs/sky.yaml"
    params:
        code=code("targets"),
        rows=lambda wildcards: SHARDS[wildcards.shard],
    script:
        "../scripts/targets.py"
