"""The page of the evaluation."""

from tandemlens.base.job import job
from tandemlens.catalogue.evaluation import write_evaluation_page

with job(snakemake):
    paths = {**snakemake.input, "trained": list(snakemake.input.get("trained", []))}
    write_evaluation_page(paths, paths.pop("template"), snakemake.output[0], snakemake.params.cfg)
