"""Train the anomaly head."""

from tandemlens.base.job import job
from tandemlens.heads.anomaly import fit
from tandemlens.learn.sample import training_table

with job(snakemake):
    table = training_table(
        snakemake.input.folds, list(snakemake.input.get("train_systems")), list(snakemake.input.get("train_features"))
    )
    fit(
        table,
        snakemake.output[0],
        {**snakemake.params.cfg, "threads": snakemake.threads},
        # only where features of an encoder are asked for
        snakemake.input.get("encoder"),
        list(snakemake.input.get("train_stamps", [])),
    )
