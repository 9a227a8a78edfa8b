"""Calibrated cutouts of a shard from a folder of survey images."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.survey.cutouts import fetch_shard

with job(snakemake) as progress:
    progress.read |= fetch_shard(
        read_table(snakemake.input.targets),
        snakemake.params.cfg,
        snakemake.output.stack,
        snakemake.output.table,
        progress,
    )
