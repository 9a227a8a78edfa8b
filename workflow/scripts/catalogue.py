"""One ranked row per target."""

from tandemlens.base.job import job
from tandemlens.catalogue.candidates import build_catalogue

with job(snakemake) as progress:
    params = snakemake.params
    build_catalogue(
        dict(snakemake.input.items()),
        progress.inputs,
        params.cfg,
        params.code,
        dict(snakemake.output.items()),
        progress,
    )
