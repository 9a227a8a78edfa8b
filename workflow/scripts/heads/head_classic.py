"""Train the classic head, or score a shard with it."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.classic import fit, score
from tandemlens.learn.sample import training_table

with job(snakemake):
    given, out = snakemake.input, snakemake.output[0]
    if snakemake.params.task == "fit":
        table = training_table(given.folds, list(given.get("train_systems")), list(given.get("train_features")))
        fit(table, out, {**snakemake.params.cfg, "threads": snakemake.threads})
    else:
        score(read_table(given.features), given.model, out)
