# figures of the overview; those of the evaluation need systems of known truth
FIGURES = ["scores", "sky"]
if JUDGED:
    FIGURES += ["classes", "roc", "contrast", "reliability"]
    FIGURES += [f"completeness_{name}" for name in ("theta_e", "magnitude", "seeing")]
STEMS = {name: f"{RESULTS}/report/figures/{name}" for name in FIGURES}


rule figures:
    input:
        **(
            {
                "held_out": f"{RESULTS}/evaluation/held_out.parquet",
                "scores": f"{RESULTS}/evaluation/held_out_scores.parquet",
                "metrics": rules.evaluate.output.metrics,
                "completeness": rules.evaluate.output.completeness,
                "reliability": rules.evaluate.output.reliability,
                "systems": per_shard("systems.parquet", JUDGED),
                "matched": per_shard("matched.h5", JUDGED),
            }
            if JUDGED
            else {}
        ),
        catalogue=f"{RESULTS}/catalogue/candidates.parquet",
        coverage=f"{RESULTS}/catalogue/coverage.parquet",
        moc=f"{RESULTS}/catalogue/coverage_all.fits",
    output:
        png=[
            report(
                f"{stem}.png",
                caption="../report/figure.rst",
                category="Figures",
                labels={"figure": name.replace("_", " ")},
            )
            for name, stem in STEMS.items()
        ],
        svg=[f"{stem}.svg" for stem in STEMS.values()],
        data=[f"{stem}.parquet" for stem in STEMS.values()],
    log:
        f"{RESULTS}/logs/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures.jsonl"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=memory(1500, 0.01),
        runtime=minutes(20, 0.02),
    params:
        code=code("figures"),
        cfg={
            "heads": shown_heads(),
            "stems": STEMS,
            "examples": SETTINGS["report"]["examples"],
            "stamp_arcsec": SETTINGS["report"]["stamp_arcsec"],
            "pixel_scale": SURVEY["pixel_scale"],
        },
    script:
        "../scripts/figures.py"


rule report:
    input:
        catalogue=f"{RESULTS}/catalogue/candidates.parquet",
        matched=per_shard("matched.h5"),
        images=per_shard("segments.h5"),
        segments=per_shard("segments.parquet"),
        photometry=per_shard("photometry.parquet"),
        known_systems=known_shards("systems.parquet"),
        known_matched=known_shards("matched.h5"),
        known_images=known_shards("segments.h5"),
        known_segments=known_shards("segments.parquet"),
        known_photometry=known_shards("photometry.parquet"),
        figures=rules.figures.output.svg,
        metrics=rules.evaluate.output.metrics if JUDGED else [],
        next=(
            f"{RESULTS}/catalogue/next_to_grade.parquet"
            if SETTINGS["grades"]["next"]
            else []
        ),
        sequence=in_data(SETTINGS["features"]["sequence"]),
        rubric="resources/grades/rubric.yaml",
        template="workflow/report/page.html.j2",
        scripts=sorted(map(str, Path("workflow/report/page").iterdir())),
    output:
        # not in the report of Snakemake, which would take it without its pictures
        page=f"{RESULTS}/report/index.html",
        data=directory(f"{RESULTS}/report/page"),
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
            "heads": shown_heads(),
            "bands": BANDS,
            **band_facts("wavelength", "width", "filter"),
            "figures": FIGURES,
            "links": ["evaluation"] * bool(JUDGED) + ["simulation"] * bool(SIMULATED),
            "benchmarks": f"{RESULTS}/benchmarks",
        },
    script:
        "../scripts/report.py"
