"""The inspection page."""

from tandemlens.base.job import job
from tandemlens.catalogue.page import write_page

PRODUCTS = ("matched", "images", "segments", "photometry")

with job(snakemake, [*PRODUCTS, *(f"known_{name}" for name in PRODUCTS)]) as progress:
    made = snakemake.output
    write_page(dict(snakemake.input.items()), made.page, made.data, snakemake.params.cfg, progress, progress.open)
