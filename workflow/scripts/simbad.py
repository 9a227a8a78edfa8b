"""What SIMBAD knows around the targets of a shard."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.survey.services.objects import objects_shard
from tandemlens.survey.services.simbad import ask_simbad

with job(snakemake) as progress:
    progress.read |= objects_shard(
        ask_simbad,
        read_table(snakemake.input.targets),
        snakemake.config["fetch"],
        snakemake.params.cfg["radius_arcsec"],
        snakemake.output[0],
        progress,
    )
