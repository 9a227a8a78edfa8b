rule catalogue:
    input:
        **head_tables("search"),
        targets=targets_of("search"),
        tandems=(
            in_data(SETTINGS["tandems"]["catalogue"])
            if SETTINGS["tandems"]["catalogue"]
            else []
        ),
        fetch=per_shard("fetch.parquet"),
        match=per_shard("match.parquet"),
        segment=per_shard("segment.parquet"),
        measure=per_shard("measure.parquet"),
        features=per_shard("features.parquet"),
        fused=per_shard("scores/fused.parquet") if LEARNS else [],
        fusion=f"{RESULTS}/models/fusion" if LEARNS else [],
    output:
        parquet=f"{RESULTS}/catalogue/candidates.parquet",
        fits=f"{RESULTS}/catalogue/candidates.fits",
        csv=f"{RESULTS}/catalogue/candidates.csv",
    log:
        f"{RESULTS}/logs/catalogue.log",
    benchmark:
        f"{RESULTS}/benchmarks/catalogue.jsonl"
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000, 0.01),
        runtime=minutes(20, 0.05),
    params:
        code=code("catalogue"),
        cfg={
            "tandems": SETTINGS["tandems"],
            "survey": SURVEY_NAME,
            "heads": [h.name for h in HEADS] + ["fused"] * LEARNS,
            "fdr": SETTINGS["fusion"]["fdr"],
        },
    script:
        "../scripts/catalogue.py"


rule coverage:
    input:
        per_shard("cutouts.h5"),
    output:
        maps=[f"{RESULTS}/catalogue/coverage_{name}.fits" for name in (*BANDS, "all")],
        table=f"{RESULTS}/catalogue/coverage.parquet",
    log:
        f"{RESULTS}/logs/coverage.log",
    benchmark:
        f"{RESULTS}/benchmarks/coverage.jsonl"
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000, 0.01),
        runtime=minutes(20, 0.1),
    params:
        code=code("coverage_maps"),
        cfg={"bands": BANDS, "maps": [*BANDS, "all"]},
    script:
        "../scripts/coverage_maps.py"


rule report:
    input:
        catalogue=f"{RESULTS}/catalogue/candidates.parquet",
        matched=per_shard("matched.h5"),
        images=per_shard("segments.h5"),
        segments=per_shard("segments.parquet"),
        photometry=per_shard("photometry.parquet"),
        template="workflow/report/page.html.j2",
    output:
        f"{RESULTS}/report/index.html",
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.jsonl"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(1500, 0.01),
        runtime=minutes(30, 0.05),
    params:
        code=code("report"),
        cfg={
            **SETTINGS["report"],
            "pixel_scale": SURVEY["pixel_scale"],
            "survey": SURVEY_NAME,
            "release": release_of("search"),
        },
    script:
        "../scripts/report.py"


rule simulation:
    input:
        matched=simulated_shards("matched.h5"),
        segments=simulated_shards("segments.h5"),
        systems=simulated_shards("systems.parquet"),
        truth=simulated_shards("truth.parquet"),
        images=simulated_shards("images.parquet"),
        curves=simulated_shards("curves.parquet"),
        expected=f"{RESULTS}/catalogue/expected.parquet" if CAN_EXPECT else [],
        template="workflow/report/simulation.html.j2",
    output:
        f"{RESULTS}/report/simulation.html",
    log:
        f"{RESULTS}/logs/simulation.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulation.jsonl"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(1500, 0.01),
        runtime=minutes(20, 0.1),
    params:
        code=code("simulation"),
        cfg={
            **SETTINGS["report"],
            "pixel_scale": SURVEY["pixel_scale"],
            "survey": SURVEY_NAME,
            "releases": {name: release_of(name) for name in SIMULATED},
        },
    script:
        "../scripts/simulation.py"
