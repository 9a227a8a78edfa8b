"""The run as one RO-Crate."""

from tandemlens.base.job import job
from tandemlens.base.lineage import Places
from tandemlens.catalogue.crate import copy_code, write_crate

with job(snakemake):
    # the crate lies at the top of the results
    results = snakemake.output.crate.rpartition("/")[0]
    copy_code(".", snakemake.output.code)
    write_crate(
        list(snakemake.input),
        Places(results, snakemake.config["fetch"]["cache"]),
        snakemake.output.code,
        snakemake.output.crate,
        snakemake.params.cfg,
    )
