"""Stamps of a shard's segments."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.features.stamps import stamps_shard

with job(snakemake) as progress:
    given = snakemake.input
    paths = {name: given[name] for name in ("stack", "images", "segments", "measure")}
    if given.get("photometry"):
        paths |= {"photometry": given.photometry, "sequence": given.sequence, "young": list(given.get("young"))}
    stamps_shard(
        paths,
        read_table(given.targets),
        snakemake.output[0],
        snakemake.params.cfg,
        progress,
    )
