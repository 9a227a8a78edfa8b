"""Fit the colour head on every shard, or score a shard with it."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.colour import fit, score

with job(snakemake):
    given, out, cfg = snakemake.input, snakemake.output[0], snakemake.params.cfg
    if snakemake.params.task == "fit":
        names = ("search_targets", "search_segments", "search_photometry")
        shards = zip(*(given.get(name) for name in names), strict=True)
        fit((map(read_table, shard) for shard in shards), out, cfg)
    else:
        tables = (given.targets, given.segments, given.photometry, given.features)
        score(*map(read_table, tables), given.sequence, given.model, out, cfg)
