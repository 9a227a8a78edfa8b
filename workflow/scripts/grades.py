"""Votes of graders, combined."""

import pandas as pd

from tandemlens.base.job import job
from tandemlens.base.tables import read_table
from tandemlens.catalogue.grades import write_grades

with job(snakemake):
    given = snakemake.input
    columns = ["target_id", "label"]
    systems = [read_table(path, columns) for path in given.get("systems")]
    write_grades(
        list(given.get("files")),
        read_table(given.targets, ["target_id"]),
        pd.concat(systems) if systems else pd.DataFrame(columns=columns),
        str(given.get("calibration") or ""),
        snakemake.params.cfg,
        dict(snakemake.output.items()),
    )
