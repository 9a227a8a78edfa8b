"""Train the head of positive-unlabelled learning, or score a shard with it."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.pu import fit, score
from tandemlens.learn.grades import labelled_targets
from tandemlens.learn.matrix import gather, placed, usable
from tandemlens.learn.sample import training_table

with job(snakemake):
    given, out = snakemake.input, snakemake.output[0]
    if snakemake.params.task == "fit":
        table = training_table(given.folds, list(given.get("train_systems")), list(given.get("train_features")))
        cfg = {**snakemake.params.cfg, "threads": snakemake.threads}
        train = placed(table, pd.concat(map(read_table, given.get("train_targets")), ignore_index=True))
        graded = read_table(given.grades)["target_id"] if given.get("grades") else ()
        search = gather(given.get("search_features"), given.get("search_targets"), cfg["targets"], graded)
        # a survey of unknown depth has no expected counts
        expected = read_table(given.expected) if given.get("expected") else None
        labels = labelled_targets(given.get("grades"), usable(search), train)
        fit(train, search, expected, out, cfg, labels)
    else:
        score(read_table(given.targets), read_table(given.features), given.model, out)
