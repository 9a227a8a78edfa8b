"""Synthetic positives of the stamps of a shard."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.learn.positives import make_positives

with job(snakemake) as progress:
    given = snakemake.input
    make_positives(
        given.stamps,
        read_table(given.systems),
        read_table(given.folds),
        given.generator,
        snakemake.output[0],
        {**snakemake.params.cfg, "threads": snakemake.threads},
        progress,
    )
