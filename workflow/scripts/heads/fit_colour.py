"""Fit the colour head on every shard."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.colour import fit

with job(snakemake):
    names = ("search_targets", "search_segments", "search_photometry")
    shards = zip(*(snakemake.input.get(name) for name in names), strict=True)
    fit((map(read_table, shard) for shard in shards), snakemake.output[0], snakemake.params.cfg)
