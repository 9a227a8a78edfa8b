rule grades:
    input:
        files=GRADE_FILES,
        calibration=str(ANSWERS) if ANSWERS.is_file() else [],
        targets=targets_of("search"),
        # the page takes calibration cases from the sample known, whose answers are known where it is simulated
        systems=(per_shard("systems.parquet", "known") if "known" in SIMULATED else []),
    output:
        votes=f"{RESULTS}/catalogue/votes.parquet",
        grades=f"{RESULTS}/catalogue/grades.parquet",
        graders=f"{RESULTS}/catalogue/graders.parquet",
    log:
        f"{RESULTS}/logs/grades.log",
    benchmark:
        f"{RESULTS}/benchmarks/grades.jsonl"
    conda:
        "../../envs/learn.yaml"
    resources:
        mem_mb=memory(1000, 0.01),
        runtime=minutes(10, 0.01),
    params:
        code=code("grades"),
        cfg={
            key: SETTINGS["grades"][key]
            for key in (
                "prevalence",
                "prior_votes",
                "positive",
                "negative",
                "least_votes",
            )
        },
    script:
        "../scripts/grades.py"


rule next_to_grade:
    input:
        f"{RESULTS}/catalogue/candidates.parquet",
    output:
        f"{RESULTS}/catalogue/next_to_grade.parquet",
    log:
        f"{RESULTS}/logs/next_to_grade.log",
    benchmark:
        f"{RESULTS}/benchmarks/next_to_grade.jsonl"
    conda:
        "../../envs/learn.yaml"
    resources:
        mem_mb=memory(1000, 0.01),
        runtime=minutes(10, 0.01),
    params:
        code=code("next_to_grade"),
        cfg={
            "heads": {h.name: [h.score, h.kind] for h in HEADS if h.fused},
            "enough_votes": SETTINGS["grades"]["enough_votes"],
        },
    script:
        "../scripts/next_to_grade.py"
