"""Train the head of trends, or score a shard with it."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.trend import fit, score
from tandemlens.learn.sample import training_table

with job(snakemake):
    given, out = snakemake.input, snakemake.output[0]
    if snakemake.params.task == "fit":
        table = training_table(given.folds, list(given.get("train_systems")), list(given.get("train_features")))
        search = pd.concat(map(read_table, given.get("search_features")), ignore_index=True)
        fit(table, search, out, {**snakemake.params.cfg, "threads": snakemake.threads})
    else:
        score(read_table(given.features), given.model, out)
