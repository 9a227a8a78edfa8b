"""One grid and one PSF for every band of a shard."""

from tandemlens.base.job import job
from tandemlens.image.match import match_shard

with job(snakemake) as progress:
    match_shard(snakemake.input.stack, snakemake.output.stack, snakemake.output.table, snakemake.params.cfg, progress)
