"""Score a shard with the head of positive-unlabelled learning."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.pu import score

with job(snakemake):
    given = snakemake.input
    score(read_table(given.targets), read_table(given.features), given.model, snakemake.output[0])
