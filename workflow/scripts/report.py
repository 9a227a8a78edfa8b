"""The inspection page."""

from tandemlens.base.job import job
from tandemlens.catalogue.page import write_page

with job(snakemake) as progress:
    write_page(
        dict(snakemake.input.items()), snakemake.output.page, snakemake.output.data, snakemake.params.cfg, progress
    )
