if SURVEY["source"] == "mock":

    rule render:
        input:
            targets=f"{ROAD}/{{shard}}/targets.parquet",
            elliptical="resources/seds/elliptical.csv",
            spiral="resources/seds/spiral.csv",
        output:
            stack=f"{ROAD}/{{shard}}/cutouts.h5",
            table=f"{ROAD}/{{shard}}/fetch.parquet",
            truth=f"{ROAD}/{{shard}}/truth.parquet",
            systems=f"{ROAD}/{{shard}}/systems.parquet",
        log:
            f"{RESULTS}/logs/render/{{shard}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/render/{{shard}}.jsonl"
        conda:
            "../../envs/sky.yaml"
        params:
            code=code("render"),
            cfg={
                "survey": SURVEY,
                "bands": BANDS,
                "size_arcsec": SETTINGS["cutout"]["size_arcsec"],
                "seed": SETTINGS["seed"],
            },
        script:
            "../scripts/render.py"
