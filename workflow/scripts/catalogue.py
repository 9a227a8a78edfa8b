"""One ranked row per target."""

from tandemlens.base.job import job
from tandemlens.catalogue.candidates import build_catalogue

with job(snakemake) as progress:
    tables = ("fetch", "match", "segment", "measure", "features", "scores")
    build_catalogue(
        snakemake.input.targets,
        {name: list(snakemake.input.get(name)) for name in tables},
        snakemake.params.cfg["tandems"],
        snakemake.input.get("tandems"),
        snakemake.params.cfg["survey"],
        dict(snakemake.output.items()),
        progress,
    )
