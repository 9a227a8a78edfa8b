"""Simulated cutouts of a shard."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.sky.mock import render_shard

with job(snakemake) as progress:
    cfg = snakemake.params.cfg
    render_shard(
        read_table(snakemake.input.targets),
        cfg["survey"],
        cfg["bands"],
        cfg["size_arcsec"],
        cfg["seed"],
        {name: snakemake.input.get(name) for name in ("elliptical", "spiral")},
        dict(snakemake.output.items()),
        progress,
    )
