"""Score a shard with the head of trends."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.trend import score

with job(snakemake):
    score(read_table(snakemake.input.features), snakemake.input.model, snakemake.output[0])
