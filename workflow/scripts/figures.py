"""The figures of the overview, as pictures and as data."""

from tandemlens.base.job import job
from tandemlens.catalogue.overview import write_figures

with job(snakemake):
    write_figures(dict(snakemake.input.items()), snakemake.params.cfg)
