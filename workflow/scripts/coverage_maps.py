"""Coverage maps of the sky that was searched."""

from tandemlens.base.job import job
from tandemlens.catalogue.coverage import write_coverage

with job(snakemake) as progress:
    names = snakemake.params.cfg["maps"]
    write_coverage(
        list(snakemake.input),
        snakemake.params.cfg["bands"],
        dict(zip(names, snakemake.output.get("maps"), strict=True)),
        snakemake.output.table,
        progress,
    )
