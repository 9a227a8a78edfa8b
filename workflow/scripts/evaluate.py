"""Evaluation of the heads on the test systems."""

from tandemlens.base.job import job
from tandemlens.learn.evaluate import write_evaluation

with job(snakemake):
    write_evaluation(
        snakemake.input.held_out, snakemake.input.scores, dict(snakemake.output.items()), snakemake.params.cfg["seed"]
    )
