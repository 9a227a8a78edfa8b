rule folds:
    input:
        systems=per_shard("systems.parquet", "train"),
        targets=per_shard("targets.parquet", "train"),
    output:
        f"{RESULTS}/training/folds.parquet",
    log:
        f"{RESULTS}/logs/folds.log",
    benchmark:
        f"{RESULTS}/benchmarks/folds.jsonl"
    conda:
        "../../envs/learn.yaml"
    resources:
        mem_mb=memory(700, 0.005, "train"),
        runtime=minutes(10, 0.01, "train"),
    params:
        code=code("folds"),
        cfg={
            "folds": SETTINGS["folds"],
            "survey": SURVEY_NAME,
            "seed": SETTINGS["seed"],
        },
    script:
        "../scripts/folds.py"
