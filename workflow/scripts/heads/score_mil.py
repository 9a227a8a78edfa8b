"""Score a shard with the head of bags of stamps."""

from tandemlens.base.job import job
from tandemlens.heads.mil import score

with job(snakemake):
    score(
        snakemake.input.stamps,
        snakemake.input.model,
        snakemake.output[0],
        {**snakemake.params.cfg, "threads": snakemake.threads},
    )
