"""The page of the simulated systems."""

from tandemlens.base.job import job
from tandemlens.catalogue.simulation import write_simulation

with job(snakemake) as progress:
    names = ("matched", "segments", "systems", "truth", "images", "curves")
    write_simulation(
        {name: list(snakemake.input.get(name)) for name in names},
        snakemake.input.get("expected"),
        snakemake.input.template,
        snakemake.output[0],
        snakemake.params.cfg,
        progress,
    )
