"""Train the head of bags of stamps."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.mil import fit

with job(snakemake) as progress:
    fit(
        pd.concat(map(read_table, snakemake.input.get("train_systems")), ignore_index=True),
        read_table(snakemake.input.folds),
        list(snakemake.input.get("train_stamps")),
        # only where unlabelled systems have a share of the loss
        list(snakemake.input.get("search_stamps", [])),
        # only where the settings ask for pretrained weights
        snakemake.input.get("encoder") or None,
        snakemake.output[0],
        # beside the output, which is removed before a job starts once more
        f"{snakemake.output[0]}.ckpt",
        {**snakemake.params.cfg, "code": snakemake.params.code, "threads": snakemake.threads},
        progress,
    )
