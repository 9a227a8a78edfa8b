# held-out systems of a run whose models come from elsewhere: all of its check sample
if ELSEWHERE:

    rule transfer:
        input:
            **head_tables("known"),
            systems=per_shard("systems.parquet", "known"),
            measured=per_shard("measure.parquet", "known"),
            targets=per_shard("targets.parquet", "known"),
            model=model_of("fusion"),
        output:
            held_out=f"{RESULTS}/evaluation/held_out.parquet",
            scores=f"{RESULTS}/evaluation/held_out_scores.parquet",
        log:
            f"{RESULTS}/logs/transfer.log",
        benchmark:
            f"{RESULTS}/benchmarks/transfer.jsonl"
        conda:
            "../../envs/learn.yaml"
        resources:
            mem_mb=memory(1000, 0.01),
            runtime=minutes(20, 0.05),
        params:
            code=code("transfer"),
            cfg={
                "heads": {h.name: [h.score, h.kind, h.fused] for h in HEADS},
                "survey": SURVEY_NAME,
            },
        script:
            "../scripts/transfer.py"
