"""A small made-up run: files of a few bytes with the sidecars that real jobs write."""

import json
from pathlib import Path

import pandas as pd

from tandemlens.base.lineage import Places
from tandemlens.base.sidecar import digest_of, job_facts, write_sidecar

PLACES = Places("results", "cache")
ROAD = "results/sky/search"
#: two shards; of the two targets of the first each has an answer of its own
TARGETS = [("a", "A one", "hp8_00001", 1), ("b", "twin", "hp8_00001", 2), ("c", "twin", "hp8_00002", 3)]


def make(rule, outputs, inputs, content=None, settings=None, started=1.0):
    """A job: its products, each with a sidecar."""
    facts = job_facts(
        rule,
        started,
        outputs,
        {p: digest_of(p) for p in inputs},
        {},
        {f"{rule}.py": "0123", "tandemlens": "4567"},
        settings,
    )
    for output in map(Path, outputs):
        output.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pd.DataFrame):
            content.to_parquet(output)
        elif isinstance(content, dict):
            output.mkdir(exist_ok=True)
            for name, text in content.items():
                (output / name).write_text(text)
        else:
            output.write_text(content or f"{rule} {output.name}")
        write_sidecar(output, facts)
    return list(map(str, outputs))


def finish():
    """A finished run of two shards, in the working folder."""
    Path("list.csv").write_text("of the user")
    rows = pd.DataFrame(TARGETS, columns=["target_id", "name", "shard", "rank"]).assign(ra=[1.5, 2.5, 3.5], dec=2.0)
    plan = make("plan", [f"{ROAD}/targets.parquet"], ["list.csv"], rows)
    per_shard = []
    for shard, own in rows.groupby("shard"):
        folder = f"{ROAD}/{shard}"
        make("targets", [f"{folder}/targets.parquet"], plan, own.assign(canvas=own["target_id"]))
        answers = [answer(f"cache/{t}.fits", 0.0) for t in own["target_id"]]
        dust = [answer(f"cache/{t}.xml", ra) for t, ra in zip(own["target_id"], own["ra"], strict=True)]
        make("dust", [f"{folder}/dust.parquet"], [f"{folder}/targets.parquet", *dust])
        fetched = pd.DataFrame({"target_id": own["target_id"], "files": [json.dumps([a]) for a in answers]})
        made = [f"{folder}/cutouts.h5", f"{folder}/fetch.parquet"]
        make("fetch", made, [f"{folder}/targets.parquet", *answers], fetched)
        inputs = [*made, f"{folder}/dust.parquet"]
        per_shard += make("score", [f"{folder}/scores.parquet"], inputs, settings={"depth": 3})
    model = make("fit_colour", ["results/models/colour"], per_shard, {"model.json": "{}", "weights.bin": "w"})
    rows = rows.assign(survey="sky", status="scored")
    catalogue = ["results/catalogue/candidates.parquet", "results/catalogue/candidates.csv"]
    make("catalogue", catalogue, [*per_shard, *model], rows)
    make("crate", ["results/ro-crate-metadata.json"], catalogue[:1])


def answer(path, ra):
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(f"pixels of {path}")
    facts = {"url": "https://sky.example/cutout", "key": {"ra": ra, "dec": 2.0}, "fetched": "2026-01-01T00:00:00+00:00"}
    Path(f"{path}.json").write_text(json.dumps(facts))
    return path


def made(path, rule):
    """Give a product a sidecar of a job without inputs."""
    write_sidecar(path, job_facts(rule, 0.0, [path], {}))
