if SETTINGS["refit"] and not ELSEWHERE:

    rule fuse:
        input:
            **head_tables("train"),
            folds=f"{RESULTS}/training/folds.parquet",
            systems=per_shard("systems.parquet", "train"),
            measured=per_shard("measure.parquet", "train"),
            expected=f"{RESULTS}/catalogue/expected.parquet" if CAN_EXPECT else [],
        output:
            model=directory(f"{RESULTS}/models/fusion"),
            held_out=f"{RESULTS}/evaluation/held_out.parquet",
            scores=f"{RESULTS}/evaluation/held_out_scores.parquet",
        log:
            f"{RESULTS}/logs/fuse.log",
        benchmark:
            f"{RESULTS}/benchmarks/fuse.jsonl"
        conda:
            "../../envs/learn.yaml"
        resources:
            mem_mb=memory(1000, 0.01, "train"),
            runtime=minutes(20, 0.05, "train"),
        params:
            code=code("fuse"),
            cfg={
                **{k: v for k, v in SETTINGS["fusion"].items() if k != "fdr"},
                "heads": {h.name: [h.score, h.kind, h.fused] for h in HEADS},
                "survey": SURVEY_NAME,
                "seed": SETTINGS["seed"],
            },
        script:
            "../scripts/fuse.py"


rule score_fused:
    input:
        **{h.name: f"{ROAD}/{{shard}}/scores/{h.name}.parquet" for h in HEADS},
        model=model_of("fusion"),
        features=f"{ROAD}/{{shard}}/features.parquet",
    output:
        f"{ROAD}/{{shard}}/scores/fused.parquet",
    log:
        f"{RESULTS}/logs/score_fused/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_fused/{{sample}}/{{shard}}.jsonl"
    conda:
        "../../envs/learn.yaml"
    resources:
        mem_mb=memory(800),
        runtime=minutes(5, 0.1),
    params:
        code=code("score_fused"),
        cfg={"heads": {h.name: h.score for h in HEADS}},
    script:
        "../scripts/score_fused.py"
