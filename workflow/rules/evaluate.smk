rule evaluate:
    input:
        held_out=f"{RESULTS}/evaluation/held_out.parquet",
        scores=f"{RESULTS}/evaluation/held_out_scores.parquet",
    output:
        metrics=f"{RESULTS}/evaluation/metrics.parquet",
        completeness=f"{RESULTS}/evaluation/completeness.parquet",
        reliability=f"{RESULTS}/evaluation/reliability.parquet",
        counts=f"{RESULTS}/evaluation/counts.parquet",
        paired=f"{RESULTS}/evaluation/paired.parquet",
    log:
        f"{RESULTS}/logs/evaluate.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate.jsonl"
    conda:
        "../../envs/learn.yaml"
    resources:
        mem_mb=memory(800, 0.01, "train"),
        runtime=minutes(20, 0.05, "train"),
    params:
        code=code("evaluate"),
        cfg={"seed": SETTINGS["seed"]},
    script:
        "../scripts/evaluate.py"


rule evaluation_page:
    input:
        held_out=f"{RESULTS}/evaluation/held_out.parquet",
        scores=f"{RESULTS}/evaluation/held_out_scores.parquet",
        metrics=rules.evaluate.output.metrics,
        completeness=rules.evaluate.output.completeness,
        reliability=rules.evaluate.output.reliability,
        counts=rules.evaluate.output.counts,
        paired=rules.evaluate.output.paired,
        fusion=model_of("fusion"),
        ablation=(
            f"{RESULTS}/evaluation/ablation.parquet"
            if SETTINGS["ablation"]["run"]
            else []
        ),
        trained=trained_models(),
        template="workflow/report/evaluation.html.j2",
    output:
        report(
            f"{RESULTS}/report/evaluation.html",
            caption="../report/evaluation.rst",
            category="Evaluation",
            labels={"result": "What the heads are worth", "format": "HTML"},
        ),
    log:
        f"{RESULTS}/logs/evaluation_page.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluation_page.jsonl"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(1000, 0.01, "train"),
        runtime=minutes(20, 0.05, "train"),
    params:
        code=code("evaluation_page"),
        cfg={
            "survey": SURVEY_NAME,
            "release": release_of(JUDGED) if JUDGED else "",
        },
    script:
        "../scripts/evaluation_page.py"
