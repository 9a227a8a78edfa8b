"""Calibrated cutouts of a shard from a folder of survey images."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.survey.files import fetch_shard

with job(snakemake) as progress:
    cfg = snakemake.params.cfg
    fetch_shard(
        read_table(snakemake.input.targets),
        cfg["survey"],
        cfg["bands"],
        cfg["data"],
        cfg["size_arcsec"],
        snakemake.output.stack,
        snakemake.output.table,
        progress,
    )
