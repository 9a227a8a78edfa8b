if SETTINGS["refit"]:

    rule generator:
        input:
            folds=f"{RESULTS}/training/folds.parquet",
            systems=per_shard("systems.parquet", "train"),
            stamps=per_shard("stamps.h5", "train"),
        output:
            directory(f"{RESULTS}/models/generator"),
        log:
            f"{RESULTS}/logs/generator.log",
        benchmark:
            f"{RESULTS}/benchmarks/generator.jsonl"
        conda:
            "../../envs/deep.yaml"
        threads: 2
        resources:
            mem_mb=memory(2000, 0.5, "train"),
            runtime=minutes(60, 2.0, "train"),
            gpu=gpus("generator"),
        params:
            code=code("generator"),
            cfg={**SETTINGS["generator"], "seed": SETTINGS["seed"]},
            # beside the output, which is removed before a job starts once more
            checkpoint=f"{RESULTS}/training/generator.ckpt",
        script:
            "../scripts/generator.py"


rule augment:
    input:
        folds=f"{RESULTS}/training/folds.parquet",
        systems=f"{RESULTS}/{SURVEY_NAME}/train/{{shard}}/systems.parquet",
        stamps=f"{RESULTS}/{SURVEY_NAME}/train/{{shard}}/stamps.h5",
        generator=f"{RESULTS}/models/generator",
    output:
        stamps=f"{RESULTS}/{SURVEY_NAME}/train/{{shard}}/synthetic.h5",
        table=f"{RESULTS}/{SURVEY_NAME}/train/{{shard}}/synthetic.parquet",
    log:
        f"{RESULTS}/logs/augment/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/augment/{{shard}}.jsonl"
    conda:
        "../../envs/deep.yaml"
    resources:
        mem_mb=memory(2000, 0.5),
        runtime=minutes(30, 5.0),
        gpu=gpus("augment"),
    params:
        code=code("augment"),
        cfg=augment_settings(),
    script:
        "../scripts/augment.py"


rule positives:
    input:
        folds=f"{RESULTS}/training/folds.parquet",
        systems=f"{RESULTS}/{SURVEY_NAME}/train/{{shard}}/systems.parquet",
        stamps=f"{RESULTS}/{SURVEY_NAME}/train/{{shard}}/stamps.h5",
        generator=f"{RESULTS}/models/generator",
    output:
        f"{RESULTS}/{SURVEY_NAME}/train/{{shard}}/positives.h5",
    log:
        f"{RESULTS}/logs/positives/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/positives/{{shard}}.jsonl"
    conda:
        "../../envs/deep.yaml"
    resources:
        mem_mb=memory(2000, 0.5),
        runtime=minutes(30, 5.0),
        gpu=gpus("augment"),
    params:
        code=code("positives"),
        cfg=augment_settings(
            {
                "candidates": SETTINGS["pretrain"]["candidates"],
                "share": SETTINGS["pretrain"]["positive_share"],
            }
        ),
    script:
        "../scripts/positives.py"


rule generator_checks:
    input:
        folds=f"{RESULTS}/training/folds.parquet",
        systems=per_shard("systems.parquet", "train"),
        stamps=per_shard("stamps.h5", "train"),
        generator=f"{RESULTS}/models/generator",
    output:
        table=f"{RESULTS}/evaluation/generator.parquet",
        stamps=f"{RESULTS}/evaluation/generator_stamps.h5",
    log:
        f"{RESULTS}/logs/generator_checks.log",
    benchmark:
        f"{RESULTS}/benchmarks/generator_checks.jsonl"
    conda:
        "../../envs/deep.yaml"
    threads: 2
    resources:
        mem_mb=memory(2000, 0.5, "train"),
        runtime=minutes(30, 2.0, "train"),
        gpu=gpus("augment"),
    params:
        code=code("generator_checks"),
        cfg=augment_settings(),
    script:
        "../scripts/generator_checks.py"


rule generator_page:
    input:
        checks=f"{RESULTS}/evaluation/generator.parquet",
        stamps=f"{RESULTS}/evaluation/generator_stamps.h5",
        tables=per_shard("synthetic.parquet", "train") if SYNTHETIC else [],
        template="workflow/report/generator.html.j2",
    output:
        f"{RESULTS}/report/generator.html",
    log:
        f"{RESULTS}/logs/generator_page.log",
    benchmark:
        f"{RESULTS}/benchmarks/generator_page.jsonl"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=minutes(10),
    params:
        code=code("generator_page"),
        cfg={
            "survey": SURVEY_NAME,
            "release": release_of("train") if LEARNS else "",
        },
    script:
        "../scripts/generator_page.py"
