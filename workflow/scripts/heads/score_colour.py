"""Score a shard with the colour head."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.colour import score

with job(snakemake):
    score(
        read_table(snakemake.input.targets),
        read_table(snakemake.input.segments),
        read_table(snakemake.input.photometry),
        read_table(snakemake.input.features),
        snakemake.input.sequence,
        snakemake.input.model,
        snakemake.output[0],
        snakemake.params.cfg,
    )
