"""What each component adds to the ranking."""

import pandas as pd

from tandemlens.base.columns.evaluation import ABLATION
from tandemlens.base.job import job
from tandemlens.base.tables import write_table
from tandemlens.catalogue.ablation import DEEP, UNMATCHED, Road, ablation_table
from tandemlens.learn.fuse import Fusion, head_scores
from tandemlens.learn.sample import training_table

with job(snakemake):
    given, cfg = snakemake.input, snakemake.params.cfg
    columns = {name: score for name, (score, _) in cfg["heads"].items()}
    tables = {name: list(given.get(name)) for name in columns}

    def road(features, tables):
        """A training sample with the scores that these features led to."""
        table = training_table(given.folds, list(given.get("systems")), list(features))
        return Road(table, head_scores(table["target_id"], tables, columns))

    roads = {"": road(given.features, tables)}
    if len(given.unmatched_features) == len(given.unmatched_colour) == len(given.features):
        roads[UNMATCHED] = road(given.unmatched_features, {**tables, "colour": list(given.unmatched_colour)})
    for k, name in enumerate(cfg["others"]):
        other = {head: list(given.get(f"other{k}_{head}")) for head in DEEP if head in columns}
        whole = {head: paths for head, paths in other.items() if len(paths) == len(given.features) > 0}
        if whole:
            roads[name] = road(given.features, {**tables, **whole})
    table = ablation_table(
        roads,
        {name: kind for name, (_, kind) in cfg["heads"].items()},
        Fusion.load(given.fusion),
        {**cfg, "threads": snakemake.threads},
        pd.read_csv(given.expected).set_index("component")["expected"],
    )
    write_table(snakemake.output[0], table, ABLATION)
