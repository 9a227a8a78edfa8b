"""Train the head of prototypes, or score a shard with it."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.proto import fit, score
from tandemlens.learn.grades import labelled_targets
from tandemlens.learn.matrix import placed, usable
from tandemlens.learn.synthetic import with_synthetic

with job(snakemake) as progress:
    given, out = snakemake.input, snakemake.output[0]
    cfg = {**snakemake.params.cfg, "threads": snakemake.threads}
    if snakemake.params.task == "fit":
        systems = pd.concat(map(read_table, given.get("train_systems")), ignore_index=True)
        folds, graded = read_table(given.folds), None
        if given.get("grades"):
            names = ("train_targets", "graded_features", "graded_targets")
            places, features, targets = (
                pd.concat(map(read_table, given.get(name)), ignore_index=True) for name in names
            )
            judges = placed(folds[["target_id", "role"]], places)
            graded = labelled_targets(given.grades, usable(placed(features, targets)), judges)
        # synthetic systems only where the settings ask for them
        systems, folds = with_synthetic(systems, folds, given.get("synthetic_table", []))
        stamps = [*given.get("train_stamps"), *given.get("synthetic_stamps", [])]
        encoder, graded_stamps = given.get("encoder") or None, list(given.get("graded_stamps"))
        fit(systems, folds, stamps, encoder, out, cfg, progress, graded, graded_stamps)
    else:
        score(given.stamps, given.model, out, cfg)
