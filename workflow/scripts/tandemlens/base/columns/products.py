"""Every table that a run writes, for the data model (`docs/data-model.md`)."""

from dataclasses import dataclass

from tandemlens.base.columns import (
    candidates,
    coverage,
    crossmatch,
    curves,
    dust,
    evaluation,
    expected,
    features,
    fetch,
    figures,
    folds,
    grades,
    images,
    match,
    measure,
    photometry,
    scores,
    segments,
    stage,
    synthetic,
    systems,
    targets,
    truth,
)
from tandemlens.base.columns.registry import Column

_SHARD = "{survey}/{sample}/{shard}"


@dataclass(frozen=True)
class Product:
    """One table, or several of the same form.

    Parameters
    ----------
    files : str
        Path below the folder of results; ``{...}`` stands for what varies.
    row : str
        What a row is.
    columns : list of Column
        ``{band}`` and ``{colour}`` stand for each band and each pair of neighbours.
    """

    files: str
    row: str
    columns: list[Column]


def products(heads: dict[str, list[Column]]) -> list[Product]:
    """Every table.

    Parameters
    ----------
    heads : dict of list of Column
        Head -> columns of its table of scores (`tandemlens.heads.declaration`).

    Returns
    -------
    list of Product
    """
    heads = {**heads, "fused": scores.FUSED}
    catalogue = candidates.columns(heads, ["{band}"], True, ["{catalogue}"], crossmatch.SERVICES, True)
    return [
        Product(
            "catalogue/candidates.{parquet,fits,vot,csv}, catalogue/hats",
            "row of the user's catalogue, ranked; columns of heads, crossmatches and grades only where the run has "
            "them",
            catalogue,
        ),
        Product("catalogue/coverage.parquet", "band", coverage.COLUMNS),
        Product("catalogue/expected.parquet", "target for which second clusters were drawn", expected.COLUMNS),
        Product("catalogue/votes.parquet", "row of the files of grades", grades.VOTES),
        Product("catalogue/grades.parquet", "graded target", grades.GRADES),
        Product("catalogue/graders.parquet", "grader", grades.GRADERS),
        Product("catalogue/next_to_grade.parquet", "target, the most urgent first", grades.NEXT),
        Product(f"{{survey}}/{{sample}}/targets.parquet, {_SHARD}/targets.parquet", "cluster", targets.COLUMNS),
        Product(f"{_SHARD}/fetch.parquet", "target and band", fetch.COLUMNS),
        Product(f"{_SHARD}/dust.parquet", "target", dust.COLUMNS),
        Product(f"{_SHARD}/ned.parquet, {_SHARD}/simbad.parquet", "target", crossmatch.OBJECTS),
        Product(f"{_SHARD}/systems.parquet", "simulated line of sight", systems.COLUMNS),
        Product(f"{_SHARD}/truth.parquet", "object painted into a simulated cutout", truth.COLUMNS),
        Product(f"{_SHARD}/images.parquet", "image of a strongly lensed source of a simulated system", images.COLUMNS),
        Product(f"{_SHARD}/curves.parquet", "point of a critical line of a simulated lens", curves.COLUMNS),
        Product(f"{_SHARD}/match.parquet", "target and band", match.COLUMNS),
        Product(f"{_SHARD}/segment.parquet", "target", stage.COLUMNS),
        Product(f"{_SHARD}/segments.parquet", "segment", segments.COLUMNS),
        Product(f"{_SHARD}/measure.parquet", "target", measure.COLUMNS),
        Product(f"{_SHARD}/photometry.parquet", "segment", photometry.COLUMNS),
        Product(f"{_SHARD}/features.parquet", "target", features.COLUMNS),
        *(Product(f"{_SHARD}/scores/{head}.parquet", "target", columns) for head, columns in heads.items()),
        Product(f"{_SHARD}/synthetic.parquet", "synthetic system that was asked for", synthetic.COLUMNS),
        Product("training/folds.parquet", "training system", folds.COLUMNS),
        Product("models/colour/population.parquet", "segment that may stand for an unrelated arc", scores.POPULATION),
        Product("models/pu/folds.parquet", "field group that the head has learnt from", scores.PU_FOLDS),
        Product("models/fusion/report.parquet", "way to fuse the heads", scores.FUSERS_COMPARED),
        Product("evaluation/held_out.parquet", "training system that no head has learnt from", evaluation.HELD_OUT),
        Product("evaluation/held_out_scores.parquet", "such system and head", evaluation.HELD_OUT_SCORES),
        *(
            Product(f"evaluation/{name}.parquet", row, evaluation.TABLES[name])
            for name, row in {
                "metrics": "figure of merit of a head on the test systems",
                "completeness": "head, false-positive rate and bin of a quantity",
                "reliability": "bin of the fused probability",
                "counts": "prevalence that the test systems are weighted to",
                "paired": "two heads and figure of merit",
            }.items()
        ),
        Product("evaluation/generator.parquet", "test of synthetic stamps", synthetic.CHECKS),
        Product("evaluation/ablation.parquet", "component and figure of merit", evaluation.ABLATION),
        *(
            Product(f"report/figures/{name}.parquet", row, figures.COLUMNS[name])
            for name, row in {
                "scores": "head, sample and bin of the score",
                "sky": "target",
                "classes": "system on the sheet of the classes",
                "roc": "head and point of its curve",
            }.items()
        ),
    ]
