# one pair of rules a head, from what its module declares; the parameter names the script, because a script's path is read
# when the job runs and the loop is over
for head in HEADS:

    if SETTINGS["refit"]:

        rule:
            name:
                f"fit_{head.name}"
            input:
                **learns_from(head),
            output:
                directory(f"{RESULTS}/models/{head.name}"),
            log:
                f"{RESULTS}/logs/fit_{head.name}.log",
            benchmark:
                f"{RESULTS}/benchmarks/fit_{head.name}.jsonl"
            conda:
                f"../../envs/{head.environment}.yaml"
            threads: head.threads
            resources:
                mem_mb=memory(4000 if head.environment == "deep" else 2000, 2, "train"),
                runtime=minutes(SETTINGS[head.name].get("minutes", 30) + 30, 2, "train"),
                gpu=gpus(head.name),
            params:
                code=code(f"heads/head_{head.name}"),
                cfg=head_settings(head),
                head=head.name,
                task="fit",
            script:
                "../scripts/heads/head_{params.head}.py"

    rule:
        name:
            f"score_{head.name}"
        input:
            **scores_by(head),
            model=model_of(head.name),
        output:
            f"{ROAD}/{{shard}}/scores/{head.name}.parquet",
        log:
            f"{RESULTS}/logs/score_{head.name}/{{sample}}/{{shard}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/score_{head.name}/{{sample}}/{{shard}}.jsonl"
        conda:
            f"../../envs/{head.environment}.yaml"
        resources:
            mem_mb=memory(2000 if head.environment == "deep" else 1000),
            runtime=minutes(5, 0.5),
            gpu=gpus(head.name),
        params:
            code=code(f"heads/head_{head.name}"),
            cfg=head_settings(head),
            head=head.name,
            task="score",
        script:
            "../scripts/heads/head_{params.head}.py"
