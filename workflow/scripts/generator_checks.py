"""Compare synthetic stamps with held-out ones."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.learn.generator_checks import check_generator

with job(snakemake) as progress:
    given, made = snakemake.input, snakemake.output
    check_generator(
        list(given.get("stamps")),
        pd.concat(map(read_table, given.get("systems")), ignore_index=True),
        read_table(given.folds),
        given.generator,
        made.table,
        made.stamps,
        {**snakemake.params.cfg, "threads": snakemake.threads},
        progress,
    )
