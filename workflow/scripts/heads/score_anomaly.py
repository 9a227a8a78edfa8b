"""Score a shard with the anomaly head."""

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.heads.anomaly import score

with job(snakemake):
    score(
        read_table(snakemake.input.features), snakemake.input.model, snakemake.output[0], snakemake.input.get("stamps")
    )
