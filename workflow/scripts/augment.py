"""Synthetic systems of a shard."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.learn.augment import augment_shard

with job(snakemake) as progress:
    given = snakemake.input
    augment_shard(
        given.stamps,
        read_table(given.systems),
        read_table(given.folds),
        given.generator,
        snakemake.output.stamps,
        snakemake.output.table,
        {**snakemake.params.cfg, "threads": snakemake.threads},
        progress,
    )
