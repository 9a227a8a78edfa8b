"""Fit the colour head on every shard."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.colour import fit

with job(snakemake):
    frames = {name: pd.concat(map(read_table, paths)) for name, paths in snakemake.input.items()}
    fit(frames["targets"], frames["segments"], frames["photometry"], snakemake.output[0], snakemake.params.cfg)
