"""Score a shard with the head of prototypes."""

from tandemlens.base.job import job
from tandemlens.heads.proto import score

with job(snakemake):
    score(
        snakemake.input.stamps,
        snakemake.input.model,
        snakemake.output[0],
        {**snakemake.params.cfg, "threads": snakemake.threads},
    )
