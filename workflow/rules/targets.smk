rule targets:
    input:
        ancient(f"{ROAD}/targets.parquet"),
    output:
        f"{ROAD}/{{shard}}/targets.parquet",
    log:
        f"{RESULTS}/logs/targets/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/targets/{{sample}}/{{shard}}.jsonl"
    # seconds of reading and writing, and the downloads that wait for it run here as well
    localrule: True
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(500),
        runtime=minutes(5),
    params:
        code=code("targets"),
        rows=shard_rows,
    script:
        "../scripts/targets.py"
