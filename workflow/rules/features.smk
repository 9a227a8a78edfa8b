rule measure:
    input:
        stack=f"{ROAD}/{{shard}}/matched.h5",
        images=f"{ROAD}/{{shard}}/segments.h5",
        segments=f"{ROAD}/{{shard}}/segments.parquet",
        targets=f"{ROAD}/{{shard}}/targets.parquet",
        dust=dust_of,
    output:
        photometry=f"{ROAD}/{{shard}}/photometry.parquet",
        table=f"{ROAD}/{{shard}}/measure.parquet",
    log:
        f"{RESULTS}/logs/measure/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{sample}}/{{shard}}.jsonl"
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=minutes(5, 0.3),
    params:
        code=code("measure"),
        cfg={**SETTINGS["measure"], **band_facts("extinction")},
    script:
        "../scripts/measure.py"


rule features:
    input:
        segments=f"{ROAD}/{{shard}}/segments.parquet",
        photometry=f"{ROAD}/{{shard}}/photometry.parquet",
        measure=f"{ROAD}/{{shard}}/measure.parquet",
        stack=f"{ROAD}/{{shard}}/matched.h5",
        targets=f"{ROAD}/{{shard}}/targets.parquet",
        sequence=in_data(SETTINGS["features"]["sequence"]),
        young=[in_data(path) for path in SETTINGS["features"]["young"]],
    output:
        f"{ROAD}/{{shard}}/features.parquet",
    log:
        f"{RESULTS}/logs/features/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/features/{{sample}}/{{shard}}.jsonl"
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1200),
        runtime=minutes(5, 1.5),
    params:
        code=code("features"),
        cfg={
            **SETTINGS["features"],
            "colour": SETTINGS["colour"],
            "bands": BANDS,
            **band_facts("wavelength", "width", "filter", "extinction"),
            "pixel_scale": SURVEY["pixel_scale"],
            "seed": SETTINGS["seed"],
        },
    script:
        "../scripts/features.py"
