"""Roles of the systems of the training sample."""

from tandemlens.base.job import job
from tandemlens.learn.sample import write_folds

with job(snakemake):
    cfg = snakemake.params.cfg
    write_folds(
        list(snakemake.input.systems),
        list(snakemake.input.targets),
        cfg["survey"],
        cfg["folds"],
        cfg["seed"],
        snakemake.output[0],
    )
