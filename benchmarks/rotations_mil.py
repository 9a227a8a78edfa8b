"""The head mil on the rotations of `benchmarks/rotations.py`, one after the other.

    PYTHONPATH=workflow/scripts python benchmarks/rotations_mil.py RESULTS mock OUT [KEY=VALUE] [--rotations 0 1]

Needs stamps.h5 of every shard of the sample `train`. Every rotation trains the head on its own systems and scores all
others; OUT gets a table a rotation, which `rotations.py --mil OUT` takes in, and a rotation whose table is there is not
trained again. KEY=VALUE changes a setting of the section mil, or encoder=NAME.
"""

import logging
import time
from pathlib import Path

import pandas as pd
import yaml
from rotations import arguments, rotations, sample

from tandemlens.base.config import load_schema, validate_settings
from tandemlens.base.tables import read_table
from tandemlens.heads.mil import fit, score


def main():
    """Train and score."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = arguments(__doc__)
    parser.add_argument("--rotations", type=int, nargs="+", default=range(10))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("changes", nargs="*", help="KEY=VALUE of the section mil")
    given = parser.parse_args()
    settings = yaml.safe_load(Path(given.config).read_text())
    settings = validate_settings(settings, load_schema(Path("config/schemas/config.schema.yaml")))
    changes = dict(change.split("=") for change in given.changes)
    encoder = {**settings["encoder"], "name": changes.pop("encoder", settings["encoder"]["name"])}
    cfg = {**settings["mil"], **{name: yaml.safe_load(value) for name, value in changes.items()}}
    cfg |= {"encoder": encoder, "views": settings["views"], "bands": settings["samples"]["search"]["bands"]}
    cfg |= {"threads": given.threads, "code": "", "device": "auto"}
    frame = sample(given.results, given.survey)
    group, roles = rotations(frame, given.folds, settings["seed"])
    paths = sorted(map(str, (Path(given.results) / given.survey / "train").glob("*/stamps.h5")))
    given.out.mkdir(parents=True, exist_ok=True)
    for k in given.rotations:
        table, started = given.out / f"mil_{k}.parquet", time.monotonic()
        if table.exists():
            continue
        folds = frame[["target_id"]].assign(group=group, role=roles[:, k], reason="")
        model, own = given.out / f"model_{k}", {**cfg, "seed": settings["seed"] + k}
        fit(frame, folds, paths, [], None, model, given.out / f"{k}.ckpt", own, lambda *_: None)
        parts = []
        for path in paths:
            score(path, model, given.out / "part.parquet", own)
            parts.append(read_table(given.out / "part.parquet"))
        pd.concat(parts).to_parquet(table)
        print(f"rotation {k}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
