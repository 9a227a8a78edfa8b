"""What the models of another run give the check sample of this one."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.learn.fuse import Fusion, head_scores, unseen_systems, write_held_out

with job(snakemake):
    given, cfg = snakemake.input, snakemake.params.cfg
    systems, measured, targets = (
        pd.concat(map(read_table, given.get(name)), ignore_index=True) for name in ("systems", "measured", "targets")
    )
    # nothing here was learnt from
    roles = targets[["target_id"]].assign(role="test", group=targets["group_id"])
    unseen = unseen_systems(roles, systems, measured)
    tables = {name: list(given.get(name)) for name in cfg["heads"]}
    write_held_out(
        unseen,
        head_scores(unseen["target_id"], tables, {name: column for name, (column, _, _) in cfg["heads"].items()}),
        {name: kind for name, (_, kind, fused) in cfg["heads"].items() if fused},
        Fusion.load(given.model),
        cfg["survey"],
        snakemake.output.held_out,
        snakemake.output.scores,
    )
