if SETTINGS["refit"]:

    rule pretrain:
        input:
            folds=f"{RESULTS}/training/folds.parquet",
            train_systems=per_shard("systems.parquet", "train"),
            train_targets=per_shard("targets.parquet", "train"),
            train_stamps=per_shard("stamps.h5", "train"),
            search_targets=per_shard("targets.parquet"),
            search_stamps=per_shard("stamps.h5"),
            files=pretrain_files(),
            positives=(
                per_shard("positives.h5", "train")
                if SETTINGS["pretrain"]["method"] == "clsp"
                else []
            ),
        output:
            directory(f"{RESULTS}/models/encoder"),
        log:
            f"{RESULTS}/logs/pretrain.log",
        benchmark:
            f"{RESULTS}/benchmarks/pretrain.jsonl"
        conda:
            "../../envs/deep.yaml"
        threads: 2
        resources:
            mem_mb=memory(4000, 2, "train"),
            runtime=minutes(SETTINGS["pretrain"]["minutes"] + 30),
            gpu=gpus("pretrain", SETTINGS["pretrain"]["devices"]),
        params:
            code=code("pretrain"),
            cfg=pretrain_settings(),
            # beside the output, which is removed before a job starts once more
            checkpoint=f"{RESULTS}/training/pretrain.ckpt",
        script:
            "../scripts/pretrain.py"
