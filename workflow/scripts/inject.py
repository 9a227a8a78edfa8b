"""Systems painted into the fetched cutouts of a shard."""

from pathlib import Path

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.sky.simulate import inject_shard

with job(snakemake) as progress:
    inject_shard(
        read_table(snakemake.input.targets),
        snakemake.input.canvases,
        snakemake.input.fetched,
        snakemake.params.cfg,
        {Path(p).stem: p for p in snakemake.input.get("seds")},
        dict(snakemake.output.items()),
        progress,
        snakemake.input.get("dust"),
    )
