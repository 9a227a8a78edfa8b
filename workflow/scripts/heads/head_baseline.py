"""Train the baseline head, or score a shard with it."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.baseline import fit, score

with job(snakemake) as progress:
    given, out = snakemake.input, snakemake.output[0]
    cfg = {**snakemake.params.cfg, "threads": snakemake.threads}
    if snakemake.params.task == "fit":
        systems = pd.concat(map(read_table, given.get("train_systems")), ignore_index=True)
        fit(systems, read_table(given.folds), list(given.get("train_cutouts")), out, cfg, progress)
    else:
        score(given.cutouts, given.model, out, cfg)
