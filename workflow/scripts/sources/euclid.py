"""Calibrated cutouts of a shard from Euclid."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.survey.services.euclid import Euclid
from tandemlens.survey.services.service import fetch_from

with job(snakemake) as progress:
    progress.read |= fetch_from(
        Euclid,
        read_table(snakemake.input.targets),
        snakemake.params.cfg,
        snakemake.config["fetch"],
        snakemake.output.stack,
        snakemake.output.table,
        progress,
    )
