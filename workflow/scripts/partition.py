"""The catalogue as HATS."""

from tandemlens.base.job import job
from tandemlens.catalogue.partition import write_hats

with job(snakemake):
    write_hats(snakemake.input[0], snakemake.output[0])
