"""The inspection page."""

from tandemlens.base.job import job
from tandemlens.catalogue.page import write_page

with job(snakemake) as progress:
    write_page(
        snakemake.input.catalogue,
        list(snakemake.input.matched),
        list(snakemake.input.images),
        list(snakemake.input.segments),
        list(snakemake.input.photometry),
        snakemake.input.template,
        snakemake.output[0],
        snakemake.params.cfg,
        progress,
    )
