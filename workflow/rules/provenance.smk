CARDS = f"{RESULTS}/report/cards"


rule cards:
    input:
        **(
            {
                "folds": f"{RESULTS}/training/folds.parquet",
                "metrics": rules.evaluate.output.metrics,
                "completeness": rules.evaluate.output.completeness,
                "held_out": f"{RESULTS}/evaluation/held_out.parquet",
                "scores": f"{RESULTS}/evaluation/held_out_scores.parquet",
                "fusion": f"{RESULTS}/models/fusion",
            }
            if LEARNS
            else {}
        ),
        **{f"{name}_fetch": per_shard("fetch.parquet", name) for name in SHARDS},
        **{f"{name}_systems": painted_systems(name) for name in SHARDS},
        models=[f"{RESULTS}/models/{name}" for name in MODELS],
        targets=[targets_of(name) for name in SHARDS],
        model_card="workflow/report/model_card.md.j2",
        data_card="workflow/report/data_card.md.j2",
    output:
        models=[
            report(
                f"{CARDS}/{name}.md",
                caption="../report/model_card.rst",
                category="Cards",
                subcategory="Models",
                labels={"model": name},
            )
            for name in MODELS
        ],
        samples=[
            report(
                f"{CARDS}/sample_{name}.md",
                caption="../report/data_card.rst",
                category="Cards",
                subcategory="Samples",
                labels={"sample": name},
            )
            for name in SHARDS
        ],
    log:
        f"{RESULTS}/logs/cards.log",
    benchmark:
        f"{RESULTS}/benchmarks/cards.jsonl"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(1000, 0.01),
        runtime=minutes(10, 0.02),
    params:
        code=code("cards"),
        cfg={
            "heads": card_heads(),
            "samples": {name: card_sample(name) for name in SHARDS},
            "survey": SURVEY_NAME,
            "release": release_of("train") if LEARNS else "",
            "bands": BANDS,
            "licence": SETTINGS["publication"]["licence"] or "not stated",
        },
    script:
        "../scripts/cards.py"


rule crate:
    input:
        ENDS,
    output:
        crate=report(
            f"{RESULTS}/ro-crate-metadata.json",
            caption="../report/crate.rst",
            category="Provenance",
            labels={"result": "RO-Crate of the run", "format": "JSON-LD"},
        ),
        code=directory(f"{RESULTS}/code"),
    log:
        f"{RESULTS}/logs/crate.log",
    benchmark:
        f"{RESULTS}/benchmarks/crate.jsonl"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(1500, 0.05),
        runtime=minutes(20, 0.05),
    params:
        code=code("crate"),
        cfg={**SETTINGS["publication"], "survey": SURVEY_NAME},
    script:
        "../scripts/crate.py"
