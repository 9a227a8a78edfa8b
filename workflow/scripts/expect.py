"""Expected number of tandems among the targets."""

from pathlib import Path

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.sky.expect import expect

with job(snakemake) as progress:
    expect(
        read_table(snakemake.input.targets),
        snakemake.params.cfg,
        {Path(p).stem: p for p in snakemake.input.get("seds")},
        snakemake.output[0],
        progress,
    )
