"""Segments of a shard, central light removed."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.image.segment import segment_shard

with job(snakemake) as progress:
    segment_shard(
        snakemake.input.stack,
        read_table(snakemake.input.targets),
        snakemake.output.segments,
        snakemake.output.images,
        snakemake.output.table,
        snakemake.params.cfg,
        progress,
    )
