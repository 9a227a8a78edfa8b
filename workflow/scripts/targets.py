"""The rows of one shard of the target list."""

from tandemlens.base.columns.targets import COLUMNS
from tandemlens.base.job import job
from tandemlens.base.tables import read_table, write_table

with job(snakemake):
    frame = read_table(snakemake.input[0], filters=[("shard", "=", snakemake.wildcards.shard)])
    write_table(snakemake.output[0], frame, COLUMNS)
