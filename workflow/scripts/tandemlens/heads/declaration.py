"""What a head says of itself before it sees data, read without importing it."""

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tandemlens.base.columns.registry import TARGET, Column
from tandemlens.base.errors import InputError, SettingsError
from tandemlens.base.sidecar import read_sidecar

#: products of the whole run, of a shard and of the survey that a head may ask for -> file
RUN_PRODUCTS = {
    "folds": "training/folds.parquet",
    "expected": "catalogue/expected.parquet",
    "grades": "catalogue/grades.parquet",
}
SHARD_PRODUCTS = {
    **{name: f"{name}.parquet" for name in ("targets", "systems", "segments", "photometry", "measure", "features")},
    "cutouts": "cutouts.h5",
    "matched": "matched.h5",
    "stamps": "stamps.h5",
}
SURVEY_PRODUCTS = ("sequence",)


@dataclass(frozen=True)
class Declaration:
    """What a head gives and needs.

    Parameters
    ----------
    name : str
        Of its module, its settings and its table of scores.
    score : str
        Column of its table that is fused; larger is more lens-like, but for a p-value.
    kind : str
        What that is, of `tandemlens.learn.evidence.SCORE_KINDS`.
    bands : int
        Fewest bands that it works with.
    columns : tuple of Column
        Of its table of scores, after ``target_id``; lists show the first.
    fit_on : dict of tuple of str
        Products that it learns from: of the ``run``, or of the shards of the samples ``train`` and ``search``;
        ``graded`` names those of the search that it needs only where targets were graded.
    score_on : tuple of str
        Products of a shard, and of the survey, that it scores by.
    environment : str
        File of ``envs``.
    fused : bool
        Whether it takes part in the ranking; one that does not is there for comparison.
    threads : int
        Cores that its training can use.
    """

    name: str
    score: str
    kind: str
    bands: int
    columns: tuple[Column, ...]
    fit_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    score_on: tuple[str, ...] = ()
    environment: str = "learn"
    fused: bool = True
    threads: int = 2

    @property
    def trained(self) -> bool:
        """Whether it needs a training sample."""
        return "train" in self.fit_on

    @property
    def table(self) -> list[Column]:
        """Columns of its table of scores, as a list of Column."""
        return [TARGET, *self.columns]


def head_names(scripts: str | Path) -> list[str]:
    """Names of all heads that there are.

    Parameters
    ----------
    scripts : str or Path
        Folder that holds the package `tandemlens`.

    Returns
    -------
    list of str
    """
    return sorted(p.stem for p in _folder(scripts).glob("*.py") if p.stem not in ("__init__", "declaration"))


def read_declaration(name: str, scripts: str | Path) -> Declaration:
    """Declaration of a head, from the syntax tree of its module: no head is imported to plan a run.

    Parameters
    ----------
    name : str
    scripts : str or Path
        Folder that holds the package `tandemlens`.

    Returns
    -------
    Declaration

    Raises
    ------
    SettingsError
        If there is no such head, or its declaration cannot be read or asks for what no stage makes.
    """
    path = _folder(scripts) / f"{name}.py"
    known = head_names(scripts)
    if name not in known:
        raise SettingsError(f"config.heads: {name} is no head; use some of {', '.join(known)}")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["DECLARATION"]:
            try:
                declared = Declaration(**_keywords(node.value))
            except (AttributeError, TypeError, ValueError) as error:
                raise SettingsError(f"DECLARATION in {path.name}: {error}; give literals and columns alone") from error
            _check(declared, name)
            return declared
    raise SettingsError(f"{path.name} has no DECLARATION; add one as in classic.py")


def score_tables(scripts: str | Path) -> dict[str, list[Column]]:
    """Columns of the tables of scores of all heads that there are.

    Parameters
    ----------
    scripts : str or Path
        Folder that holds the package `tandemlens`.

    Returns
    -------
    dict of list of Column
    """
    return {name: read_declaration(name, scripts).table for name in head_names(scripts)}


def _folder(scripts: str | Path) -> Path:
    return Path(scripts) / "tandemlens" / "heads"


def _value(node: ast.expr) -> Any:
    """A literal, or a tuple with columns of literals."""
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Column":
        return Column(*map(_value, node.args), **_keywords(node))
    return ast.literal_eval(node)


def _keywords(call: Any) -> dict[str, Any]:
    return {k.arg: _value(k.value) for k in call.keywords}


def _check(declared: Declaration, name: str) -> None:
    asked = [("run", RUN_PRODUCTS), ("train", SHARD_PRODUCTS), ("search", SHARD_PRODUCTS), ("graded", SHARD_PRODUCTS)]
    strange = [f"{s}: {p}" for s, known in asked for p in declared.fit_on.get(s, ()) if p not in known]
    strange += [f"sample {s}" for s in declared.fit_on if s not in dict(asked)]
    strange += [p for p in declared.score_on if p not in SHARD_PRODUCTS and p not in SURVEY_PRODUCTS]
    if declared.score not in [c.name for c in declared.columns]:
        raise SettingsError(
            f"DECLARATION in {name}.py: its columns {', '.join(c.name for c in declared.columns) or '(none)'} lack its "
            f"score {declared.score}; add it"
        )
    if strange or declared.name != name:
        raise SettingsError(
            f"DECLARATION in {name}.py names {declared.name} and asks for {', '.join(strange) or 'what there is'}; "
            f"a head has the name of its file and may ask for {', '.join((*RUN_PRODUCTS, *SHARD_PRODUCTS))}"
        )


def check_heads(heads: list[Declaration], bands: list[str], settings: dict[str, Any]) -> None:
    """Refuse heads that this run cannot have.

    Parameters
    ----------
    heads : list of Declaration
    bands : list of str
    settings : dict
        Of the run, with a section for every head.

    Raises
    ------
    SettingsError
    """
    for head in heads:
        if len(bands) < head.bands:
            raise SettingsError(
                f"config.heads: {head.name} needs {head.bands} bands and the run has {len(bands)}; "
                "add bands to samples.search.bands or leave the head out"
            )
        if head.name not in settings:
            raise SettingsError(
                f"config/schemas/heads has no {head.name}.schema.yaml for the settings of the head; add it"
            )
    twice = {h.name for h in heads if sum(h.name == other.name for other in heads) > 1}
    if twice:
        raise SettingsError(f"config.heads names {', '.join(sorted(twice))} twice; once is enough")
    if "colour" not in {h.name for h in heads}:
        raise SettingsError("config.heads lacks colour; every run has it: it needs no training sample")


def check_models(folder: str, heads: list[Declaration], bands: list[str], learns: bool) -> None:
    """Refuse models of another run that cannot score the targets of this one.

    Parameters
    ----------
    folder : str
        Results of the other run.
    heads : list of Declaration
        Of this run.
    bands : list of str
    learns : bool
        Whether this run has a training sample of its own.

    Raises
    ------
    SettingsError
    """
    where = f"config.models: {folder}"
    if learns:
        raise SettingsError(f"{where} has the models and samples.train asks for others; leave one of the two out")
    trained = {head.name for head in heads if head.trained}
    try:
        fused = read_sidecar(f"{folder}/models/fusion")["settings"]["heads"]
        fitted = {name: read_sidecar(f"{folder}/models/{name}")["settings"]["bands"] for name in sorted(trained)}
    except InputError as error:
        raise SettingsError(f"{where}: {error}, or name in heads only what that run has trained") from error
    lacking = [name for name in fused if name not in {head.name for head in heads}]
    if lacking:
        raise SettingsError(f"{where}: its fusion rests on {', '.join(lacking)} too; name them in heads")
    for name, its in fitted.items():
        if its != bands:
            raise SettingsError(
                f"{where}: its head {name} was fitted with the bands {' '.join(its)}, the run has {' '.join(bands)}; "
                "take the same, by the same names, in samples.search.bands"
            )
