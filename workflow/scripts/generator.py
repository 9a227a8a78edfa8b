"""Train the generator of synthetic stamps."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.learn.generator import fit_generator

with job(snakemake) as progress:
    given, params = snakemake.input, snakemake.params
    fit_generator(
        pd.concat(map(read_table, given.get("systems")), ignore_index=True),
        read_table(given.folds),
        list(given.get("stamps")),
        snakemake.output[0],
        params.checkpoint,
        {**params.cfg, "code": params.code, "threads": snakemake.threads},
        progress,
    )
