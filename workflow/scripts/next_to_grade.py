"""What to grade next."""

from tandemlens.base.job import job
from tandemlens.catalogue.next_to_grade import write_next

with job(snakemake):
    cfg = snakemake.params.cfg
    write_next(snakemake.input[0], cfg["heads"], cfg["enough_votes"], snakemake.output[0])
