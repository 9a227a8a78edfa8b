"""The feature table of a shard."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.features.table import features_shard

with job(snakemake) as progress:
    given = snakemake.input
    features_shard(
        {name: given.get(name) for name in ("segments", "photometry", "measure", "stack")},
        read_table(given.targets),
        given.sequence,
        list(given.young),
        snakemake.output[0],
        snakemake.params.cfg,
        progress,
    )
