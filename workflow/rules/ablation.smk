OTHER_RUNS = SETTINGS["ablation"]["others"]
# what a run without PSF matching has of the same shards; the table tells if that is not all
UNMATCHED = {
    product: of_other_run(OTHER_RUNS["psf_matching"], file)
    for product, file in (
        ("unmatched_features", "features.parquet"),
        ("unmatched_colour", "scores/colour.parquet"),
    )
}
# heads that look at stamps, as other runs of the same samples have trained them
OTHERS = {
    "joint loss of mil": OTHER_RUNS["joint_loss"],
    "synthetic systems": OTHER_RUNS["synthetic"],
    **{
        f"pretraining {method}": folder
        for method, folder in OTHER_RUNS["pretraining"].items()
    },
}
OTHER_SCORES = {
    f"other{k}_{head}": of_other_run(folder, f"scores/{head}.parquet")
    for k, folder in enumerate(OTHERS.values())
    for head in ("mil", "proto")
}
# the head classic is fitted anew
SCORED = {h.name: [h.score, h.kind] for h in HEADS if h.fused and h.name != "classic"}


rule ablation:
    input:
        **UNMATCHED,
        **OTHER_SCORES,
        **{name: per_shard(f"scores/{name}.parquet", "train") for name in SCORED},
        folds=f"{RESULTS}/training/folds.parquet",
        systems=per_shard("systems.parquet", "train"),
        features=per_shard("features.parquet", "train"),
        fusion=f"{RESULTS}/models/fusion",
        expected="resources/expected_gains.csv",
    output:
        f"{RESULTS}/evaluation/ablation.parquet",
    log:
        f"{RESULTS}/logs/ablation.log",
    benchmark:
        f"{RESULTS}/benchmarks/ablation.jsonl"
    conda:
        "../../envs/learn.yaml"
    threads: 2
    resources:
        mem_mb=memory(1000, 0.02, "train"),
        runtime=minutes(30, 1, "train"),
    params:
        code=code("ablation"),
        cfg={
            "classic": {**SETTINGS["classic"], "trials": 0},
            "calibration": SETTINGS["fusion"]["calibration"],
            "heads": SCORED,
            "others": list(OTHERS),
            "bands": BANDS,
            "seed": SETTINGS["seed"],
        },
    script:
        "../scripts/ablation.py"
