"""E(B-V) of a shard's targets from IRSA's dust service."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.survey.services.dust import dust_shard

with job(snakemake) as progress:
    progress.read |= dust_shard(
        read_table(snakemake.input.targets),
        snakemake.config["fetch"],
        snakemake.output[0],
        progress,
    )
