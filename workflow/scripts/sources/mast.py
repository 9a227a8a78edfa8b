"""Calibrated cutouts of a shard from HST and JWST images at MAST."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.survey.services.mast import Mast
from tandemlens.survey.services.service import fetch_from

with job(snakemake) as progress:
    progress.read |= fetch_from(
        Mast,
        read_table(snakemake.input.targets),
        snakemake.params.cfg,
        snakemake.config["fetch"],
        snakemake.output.stack,
        snakemake.output.table,
        progress,
    )
