rule render:
    input:
        targets=f"{ROAD}/{{shard}}/targets.parquet",
        seds=list(SEDS.values()),
        cosmos=cosmos_files,
    output:
        stack=f"{ROAD}/{{shard}}/cutouts.h5",
        table=f"{ROAD}/{{shard}}/fetch.parquet",
        systems=f"{ROAD}/{{shard}}/systems.parquet",
        truth=f"{ROAD}/{{shard}}/truth.parquet",
        images=f"{ROAD}/{{shard}}/images.parquet",
        curves=f"{ROAD}/{{shard}}/curves.parquet",
    log:
        f"{RESULTS}/logs/render/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/render/{{sample}}/{{shard}}.jsonl"
    wildcard_constraints:
        sample=samples_with("simulated"),
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=minutes(5, 4),
    params:
        code=code("render"),
        cfg=simulation,
    script:
        "../scripts/render.py"


rule inject:
    input:
        targets=f"{ROAD}/{{shard}}/targets.parquet",
        canvases=f"{ROAD}_canvas/{{shard}}/cutouts.h5",
        fetched=f"{ROAD}_canvas/{{shard}}/fetch.parquet",
        seds=list(SEDS.values()),
        cosmos=cosmos_files,
        dust=dust_of,
    output:
        stack=f"{ROAD}/{{shard}}/cutouts.h5",
        table=f"{ROAD}/{{shard}}/fetch.parquet",
        systems=f"{ROAD}/{{shard}}/systems.parquet",
        truth=f"{ROAD}/{{shard}}/truth.parquet",
        images=f"{ROAD}/{{shard}}/images.parquet",
        curves=f"{ROAD}/{{shard}}/curves.parquet",
    log:
        f"{RESULTS}/logs/inject/{{sample}}/{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/inject/{{sample}}/{{shard}}.jsonl"
    wildcard_constraints:
        sample=samples_with("injected"),
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=minutes(5, 4),
    params:
        code=code("inject"),
        cfg=simulation,
    script:
        "../scripts/inject.py"


rule expect:
    input:
        targets=ancient(targets_of("search")),
        seds=list(SEDS.values()),
    output:
        f"{RESULTS}/catalogue/expected.parquet",
    log:
        f"{RESULTS}/logs/expect.log",
    benchmark:
        f"{RESULTS}/benchmarks/expect.jsonl"
    conda:
        "../../envs/sky.yaml"
    resources:
        mem_mb=memory(1000, 0.005),
        runtime=minutes(
            # half a second for each cluster behind, whatever the number of targets
            10
            + SETTINGS["expect"]["lenses"] * SETTINGS["expect"]["draws"] / 120
        ),
    params:
        code=code("expect"),
        rows={name: shard.digest for name, shard in SHARDS["search"].items()},
        cfg={
            "survey": SURVEY,
            "bands": BANDS,
            "size_arcsec": SETTINGS["cutout"]["size_arcsec"],
            "seed": SETTINGS["seed"],
            "expect": SETTINGS["expect"],
        },
    script:
        "../scripts/expect.py"
