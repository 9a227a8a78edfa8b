"""The feature table of a shard."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.features.table import features_shard

with job(snakemake) as progress:
    features_shard(
        snakemake.input.segments,
        snakemake.input.photometry,
        snakemake.input.table,
        read_table(snakemake.input.targets),
        snakemake.input.sequence,
        snakemake.output[0],
        snakemake.params.cfg,
        progress,
    )
