"""Fused scores of a shard."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.learn.fuse import head_scores, score_fused

with job(snakemake):
    features, columns = read_table(snakemake.input.features), snakemake.params.cfg["heads"]
    tables = {name: [snakemake.input.get(name)] for name in columns}
    scores = head_scores(features["target_id"], tables, columns)
    score_fused(features, scores, snakemake.input.model, snakemake.output[0])
