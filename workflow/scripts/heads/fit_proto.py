"""Train the head of prototypes."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.proto import fit
from tandemlens.learn.synthetic import with_synthetic

with job(snakemake) as progress:
    given = snakemake.input
    systems = pd.concat(map(read_table, given.get("train_systems")), ignore_index=True)
    # synthetic systems only where the settings ask for them
    systems, folds = with_synthetic(systems, read_table(given.folds), given.get("synthetic_table", []))
    fit(
        systems,
        folds,
        [*given.get("train_stamps"), *given.get("synthetic_stamps", [])],
        given.get("encoder") or None,
        snakemake.output[0],
        {**snakemake.params.cfg, "threads": snakemake.threads},
        progress,
    )
