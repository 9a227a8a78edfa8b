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
        fused=per_shard("scores/fused.parquet") if FUSES else [],
        models=[model_of(name) for name in [h.name for h in HEADS] + ["fusion"] * FUSES],
        lenscat=(
            in_data(SETTINGS["crossmatch"]["lenscat"])
            if SETTINGS["crossmatch"]["lenscat"]
            else []
        ),
        catalogues=[
            c["catalogue"] for c in SETTINGS["crossmatch"]["catalogues"].values()
        ],
        ned=asked("ned"),
        simbad=asked("simbad"),
        grades=f"{RESULTS}/catalogue/grades.parquet" if GRADE_FILES else [],
    output:
        parquet=f"{RESULTS}/catalogue/candidates.parquet",
        fits=report(
            f"{RESULTS}/catalogue/candidates.fits",
            caption="../report/catalogue.rst",
            category="Candidates",
            labels={"result": "Ranked catalogue", "format": "FITS"},
        ),
        votable=f"{RESULTS}/catalogue/candidates.vot",
        csv=report(
            f"{RESULTS}/catalogue/candidates.csv",
            caption="../report/catalogue.rst",
            category="Candidates",
            labels={"result": "Ranked catalogue", "format": "CSV"},
        ),
        regions=f"{RESULTS}/catalogue/candidates.reg",
    log:
        f"{RESULTS}/logs/catalogue.log",
    benchmark:
        f"{RESULTS}/benchmarks/catalogue.jsonl"
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000, 0.003),
        runtime=minutes(20, 0.003),
    params:
        code=code("catalogue"),
        cfg=catalogue_settings(),
    script:
        "../scripts/catalogue.py"


rule hats:
    input:
        f"{RESULTS}/catalogue/candidates.parquet",
    output:
        directory(f"{RESULTS}/catalogue/hats"),
    log:
        f"{RESULTS}/logs/hats.log",
    benchmark:
        f"{RESULTS}/benchmarks/hats.jsonl"
    conda:
        "../../envs/hats.yaml"
    resources:
        mem_mb=memory(2000, 0.02),
        runtime=minutes(20, 0.02),
    params:
        code=code("partition"),
    script:
        "../scripts/partition.py"


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
        report(
            f"{RESULTS}/report/simulation.html",
            caption="../report/simulation.rst",
            category="Simulation",
            labels={"result": "What was simulated", "format": "HTML"},
        ),
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
