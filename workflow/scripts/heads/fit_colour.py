"""Fit the colour head on every shard."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.colour import fit

with job(snakemake):
    names = ("search_targets", "search_segments", "search_photometry")
    frames = [pd.concat(map(read_table, snakemake.input.get(name))) for name in names]
    fit(*frames, snakemake.output[0], snakemake.params.cfg)
