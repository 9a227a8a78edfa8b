"""Train the encoder of stamps without labels."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.learn.pretrain import Sample, pretrain

with job(snakemake) as progress:
    given, params = snakemake.input, snakemake.params
    names = ("train_systems", "train_targets", "search_targets")
    tables = [pd.concat(map(read_table, given.get(name)), ignore_index=True) for name in names]
    paths = [list(given.get(name)) for name in ("train_stamps", "search_stamps", "positives")]
    pretrain(
        Sample(read_table(given.folds), *tables, *paths),
        snakemake.output[0],
        params.checkpoint,
        {**params.cfg, "code": params.code, "threads": snakemake.threads},
        progress,
    )
