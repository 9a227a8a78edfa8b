rule stamps:
    input:
        **contrast_inputs(),
        stack=f"{ROAD}/{{shard}}/matched.h5",
        images=f"{ROAD}/{{shard}}/segments.h5",
        segments=f"{ROAD}/{{shard}}/segments.parquet",
        measure=f"{ROAD}/{{shard}}/measure.parquet",
        targets=f"{ROAD}/{{shard}}/targets.parquet",
    output:
        f"{ROAD}/{{shard}}/stamps.h5",
    log:
        f"{RESULTS}/logs/stamps/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/stamps/{{sample}}/{{shard}}.jsonl"
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(800),
        runtime=minutes(5, 0.4),
    params:
        code=code("stamps"),
        cfg={
            **SETTINGS["stamps"],
            "bands": BANDS,
            **band_facts("extinction"),
            "survey_depth": [
                SURVEY["bands"][b].get("mock", {}).get("depth") for b in BANDS
            ],
            "survey_fwhm": [
                SURVEY["bands"][b].get("mock", {}).get("fwhm") for b in BANDS
            ],
            "pixel_scale": SURVEY["pixel_scale"],
            **(
                band_facts("wavelength", "width", "filter")
                if SETTINGS["stamps"]["contrast"]
                else {}
            ),
        },
    script:
        "../scripts/stamps.py"
