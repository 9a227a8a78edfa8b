rule fit_colour:
    input:
        targets=per_shard("targets.parquet"),
        segments=per_shard("segments.parquet"),
        photometry=per_shard("photometry.parquet"),
    output:
        directory(f"{RESULTS}/models/colour"),
    log:
        f"{RESULTS}/logs/fit_colour.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_colour.jsonl"
    conda:
        "../../envs/sky.yaml"
    params:
        code=code("heads/fit_colour"),
        cfg={**SETTINGS["colour"], "bands": BANDS, "seed": SETTINGS["seed"]},
    script:
        "../scripts/heads/fit_colour.py"


rule score_colour:
    input:
        model=f"{RESULTS}/models/colour",
        targets=f"{ROAD}/{{shard}}/targets.parquet",
        segments=f"{ROAD}/{{shard}}/segments.parquet",
        photometry=f"{ROAD}/{{shard}}/photometry.parquet",
        features=f"{ROAD}/{{shard}}/features.parquet",
        sequence=in_data(SETTINGS["features"]["sequence"]),
    output:
        f"{ROAD}/{{shard}}/scores/colour.parquet",
    log:
        f"{RESULTS}/logs/score_colour/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_colour/{{sample}}/{{shard}}.jsonl"
    conda:
        "../../envs/sky.yaml"
    params:
        code=code("heads/score_colour"),
        cfg={
            **SETTINGS["colour"],
            "bands": BANDS,
            **band_facts("wavelength", "width", "filter"),
            "seed": SETTINGS["seed"],
        },
    script:
        "../scripts/heads/score_colour.py"
