"""Fluxes and colours of a shard's segments."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.image.photometry import measure_shard

with job(snakemake) as progress:
    measure_shard(
        snakemake.input.stack,
        snakemake.input.images,
        snakemake.input.segments,
        read_table(snakemake.input.targets),
        snakemake.output.photometry,
        snakemake.output.table,
        snakemake.params.cfg,
        progress,
        snakemake.input.get("dust"),
    )
