"""One ranked row per target."""

from tandemlens.base.job import job
from tandemlens.catalogue.candidates import build_catalogue

with job(snakemake) as progress:
    tables = ("fetch", "match", "segment", "measure", "features")
    given, cfg = snakemake.input, snakemake.params.cfg
    build_catalogue(
        given.targets,
        {name: list(given.get(name)) for name in tables},
        {head: list(given.get(head)) for head in cfg["heads"]},
        given.fusion,
        cfg,
        given.tandems,
        given.grades,
        dict(snakemake.output.items()),
        progress,
    )
