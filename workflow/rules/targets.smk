rule targets:
    input:
        ancient(f"{ROAD}/targets.parquet"),
    output:
        f"{ROAD}/{{shard}}/targets.parquet",
    log:
        f"{RESULTS}/logs/targets/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/targets/{{sample}}/{{shard}}.jsonl"
    conda:
        "../../envs/sky.yaml"
    params:
        code=code("targets"),
        rows=shard_rows,
    script:
        "../scripts/targets.py"
