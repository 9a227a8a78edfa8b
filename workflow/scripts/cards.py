"""Model cards of the heads and data cards of the samples."""

from tandemlens.base.job import job
from tandemlens.catalogue.cards import write_data_cards, write_model_cards

with job(snakemake):
    given, made, cfg = snakemake.input, snakemake.output, snakemake.params.cfg
    names = ("folds", "metrics", "completeness", "held_out", "scores", "fusion")
    tables = {name: given.get(name) for name in names} if given.get("folds") else {}
    if tables:
        tables["systems"] = list(given.train_systems)
    write_model_cards(list(cfg["heads"]), list(given.models), tables, given.model_card, list(made.models), cfg)
    per_shard = {
        product: [list(given.get(f"{name}_{product}")) for name in cfg["samples"]] for product in ("fetch", "systems")
    }
    write_data_cards(
        list(cfg["samples"]),
        list(given.targets),
        per_shard["fetch"],
        per_shard["systems"],
        given.data_card,
        list(made.samples),
        cfg,
    )
