"""Train the head of bags of stamps, or score a shard with it."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.mil import fit, score
from tandemlens.learn.synthetic import with_synthetic

with job(snakemake) as progress:
    given, out = snakemake.input, snakemake.output[0]
    cfg = {**snakemake.params.cfg, "threads": snakemake.threads}
    if snakemake.params.task == "fit":
        systems = pd.concat(map(read_table, given.get("train_systems")), ignore_index=True)
        # synthetic systems and pretrained weights only where the settings ask for them
        systems, folds = with_synthetic(systems, read_table(given.folds), given.get("synthetic_table", []))
        fit(
            systems,
            folds,
            [*given.get("train_stamps"), *given.get("synthetic_stamps", [])],
            # only where unlabelled systems have a share of the loss
            list(given.get("search_stamps", [])),
            given.get("encoder") or None,
            out,
            # beside the output, which is removed before a job starts once more
            f"{out}.ckpt",
            {**cfg, "code": snakemake.params.code},
            progress,
        )
    else:
        score(given.stamps, given.model, out, cfg)
