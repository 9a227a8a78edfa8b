"""Train the head of trends."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.trend import fit
from tandemlens.learn.sample import training_table

with job(snakemake):
    given = snakemake.input
    table = training_table(given.folds, list(given.get("train_systems")), list(given.get("train_features")))
    search = pd.concat(map(read_table, given.get("search_features")), ignore_index=True)
    fit(table, search, snakemake.output[0], {**snakemake.params.cfg, "threads": snakemake.threads})
