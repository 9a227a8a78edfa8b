"""The run as one RO-Crate."""

from tandemlens.base.job import job
from tandemlens.base.lineage import Places
from tandemlens.catalogue.crate import copy_code, write_crate

with job(snakemake):
    cfg = snakemake.params.cfg
    copy_code(".", snakemake.output.code)
    write_crate(
        list(snakemake.input),
        Places(snakemake.params.results, snakemake.config["fetch"]["cache"]),
        snakemake.output.code,
        snakemake.output.crate,
        cfg,
    )
