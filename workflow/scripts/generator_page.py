"""The page of the generator."""

from tandemlens.base.job import job
from tandemlens.catalogue.generator_page import write_generator_page

with job(snakemake):
    given = snakemake.input
    paths = {"checks": given.checks, "stamps": given.stamps, "tables": list(given.get("tables"))}
    write_generator_page(paths, given.template, snakemake.output[0], snakemake.params.cfg)
