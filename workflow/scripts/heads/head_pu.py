"""Train the head of positive-unlabelled learning, or score a shard with it."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.pu import fit, score
from tandemlens.learn.grades import labelled_targets
from tandemlens.learn.matrix import placed, usable
from tandemlens.learn.sample import training_table

with job(snakemake):
    given, out = snakemake.input, snakemake.output[0]
    if snakemake.params.task == "fit":
        table = training_table(given.folds, list(given.get("train_systems")), list(given.get("train_features")))
        names = ("train_targets", "search_features", "search_targets")
        places, features, targets = (pd.concat(map(read_table, given.get(name)), ignore_index=True) for name in names)
        # a survey of unknown depth has no expected counts
        expected = read_table(given.expected) if given.get("expected") else None
        train, search = placed(table, places), placed(features, targets)
        labels = labelled_targets(given.get("grades"), usable(search), train)
        fit(train, search, expected, out, {**snakemake.params.cfg, "threads": snakemake.threads}, labels)
    else:
        score(read_table(given.targets), read_table(given.features), given.model, out)
