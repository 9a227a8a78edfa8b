"""Score a shard with the baseline head."""

from tandemlens.base.job import job
from tandemlens.heads.baseline import score

with job(snakemake):
    score(
        snakemake.input.cutouts,
        snakemake.input.model,
        snakemake.output[0],
        {**snakemake.params.cfg, "threads": snakemake.threads},
    )
