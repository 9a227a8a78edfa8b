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


rule fit_classic:
    input:
        folds=f"{RESULTS}/training/folds.parquet",
        systems=per_shard("systems.parquet", "train"),
        features=per_shard("features.parquet", "train"),
    output:
        directory(f"{RESULTS}/models/classic"),
    log:
        f"{RESULTS}/logs/fit_classic.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_classic.jsonl"
    conda:
        "../../envs/learn.yaml"
    threads: 2
    params:
        code=code("heads/fit_classic"),
        cfg={**SETTINGS["classic"], "bands": BANDS, "seed": SETTINGS["seed"]},
    script:
        "../scripts/heads/fit_classic.py"


rule score_classic:
    input:
        model=f"{RESULTS}/models/classic",
        features=f"{ROAD}/{{shard}}/features.parquet",
    output:
        f"{ROAD}/{{shard}}/scores/classic.parquet",
    log:
        f"{RESULTS}/logs/score_classic/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_classic/{{sample}}/{{shard}}.jsonl"
    conda:
        "../../envs/learn.yaml"
    params:
        code=code("heads/score_classic"),
    script:
        "../scripts/heads/score_classic.py"
