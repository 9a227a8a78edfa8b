"""Fuse and calibrate the heads."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.learn.fuse import head_scores, unseen_systems, write_fusion

with job(snakemake):
    given, heads = snakemake.input, snakemake.params.cfg["heads"]
    systems, measured = (pd.concat(map(read_table, given.get(name))) for name in ("systems", "measured"))
    unseen = unseen_systems(read_table(given.folds), systems, measured)
    tables = {name: list(given.get(name)) for name in heads}
    write_fusion(
        unseen,
        head_scores(unseen["target_id"], tables, {name: column for name, (column, _, _) in heads.items()}),
        {name: kind for name, (_, kind, fused) in heads.items() if fused},
        read_table(given.expected) if given.expected else None,
        snakemake.params.cfg,
        snakemake.output.model,
        snakemake.output.held_out,
        snakemake.output.scores,
    )
