"""Evaluation of the heads on the test systems, which no fit has looked at.

Everything is measured on simulated systems and says nothing of the sky beyond what the simulation holds.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm

from tandemlens.base.columns.evaluation import COMPLETENESS, METRICS, PAIRED, TABLES
from tandemlens.base.errors import InputError
from tandemlens.base.tables import empty_frame, read_table, write_table
from tandemlens.learn.metrics import completeness, reliability, threshold_at_fpr
from tandemlens.learn.prior import shift_prior
from tandemlens.learn.ranking import ratio
from tandemlens.learn.resample import draws_of, group_draws, paired_difference, summarise

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

log = logging.getLogger("tandemlens")
#: regime in which human experts recover lenses (Rojas et al. 2023): S/N of the brightest arc, Einstein radius over FWHM
EXPERT_SNR, EXPERT_RADIUS = 25.0, 1.2
#: false-positive rates of the completeness
FPRS = (0.1, 0.03)
#: edges of the bins; the limits of the expert regime are among them
EDGES = {
    "theta_e_fwhm": (0, EXPERT_RADIUS, 2.5, 5, 10, 20, np.inf),
    "snr_brightest": (0, 8, 14, EXPERT_SNR, 45, 80, 140, 250, np.inf),
    "mag_brightest": (-np.inf, 19, 20, 21, 22, 23, 24, 25, np.inf),
    "fwhm": (0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5, np.inf),
}
#: shares of lenses that the test systems are weighted to, beside their own
PREVALENCES = (0.5, 0.1, 1e-2, 1e-3)
#: heads that all others are compared with, and in what
REFERENCES = ("fused", "classic")
COMPARED = ("tpr_at_fpr_0.03", "tpr_at_fpr_0.01", "tpr10", "auroc")
_DRAWS, _LEVEL = 1000, 0.95


def write_evaluation(held_out_path: str, scores_path: str, out_paths: dict[str, str], seed: int) -> None:
    """Write all tables of the evaluation.

    A table that cannot be made has no rows, and the reason in its metadata (key ``reason``).

    Parameters
    ----------
    held_out_path, scores_path : str
        held_out.parquet and held_out_scores.parquet.
    out_paths : dict of str
        Of every table of `tandemlens.base.columns.evaluation.TABLES`.
    seed : int
        Of the bootstraps.
    """
    held_out = read_table(held_out_path)
    test, scores = on_test(held_out, read_table(scores_path))
    made: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
        "metrics": (lambda: head_metrics(test, scores, seed), ranking_refusal(test, scores)),
        "completeness": (lambda: completeness_table(test, scores), ranking_refusal(test, scores)),
        "paired": (lambda: paired_table(test, scores, seed), ranking_refusal(test, scores)),
        "reliability": (lambda: reliability(test["probability"], test["label"]), probability_refusal(test)),
        "counts": (lambda: shifted_counts(held_out, seed), counts_refusal(held_out)),
    }
    for name, (make, reason) in made.items():
        if reason:
            log.warning("table %s is empty: %s", name, reason)
        frame = empty_frame(TABLES[name]) if reason else make()
        write_table(out_paths[name], frame, TABLES[name], {"reason": reason})


def on_test(held_out: pd.DataFrame, scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Systems of the role test, and their scores.

    Parameters
    ----------
    held_out : pandas.DataFrame
        Columns `HELD_OUT` of `tandemlens.base.columns.evaluation`.
    scores : pandas.DataFrame
        Columns `HELD_OUT_SCORES`.

    Returns
    -------
    test : pandas.DataFrame
        Rows of `held_out`, and ``theta_e_fwhm``, Einstein radius over seeing.
    scores : pandas.DataFrame
        One column a head in the order of their names, one row as in `test`; -inf, which ranks last, where there is no
        score.

    Raises
    ------
    InputError
        If a system stands twice.
    """
    for frame, names in ((held_out, ["target_id"]), (scores, ["target_id", "head"])):
        twice = frame[frame.duplicated(names)]
        if len(twice):
            place = " and ".join(f"{name} {twice[name].iloc[0]!r}" for name in names)
            raise InputError(f"the held-out systems have {place} in two rows; write one")
    test = held_out[held_out["role"] == "test"].reset_index(drop=True)
    wide = scores.pivot(index="target_id", columns="head", values="score").reindex(test["target_id"])
    wide = wide.reset_index(drop=True).rename_axis(columns=None)
    for head, missing in wide.isna().sum().items():
        if missing:
            log.warning("%s: %d of %d test systems have no score and rank last", head, missing, len(wide))
    return test.assign(theta_e_fwhm=ratio(test["theta_e"], test["fwhm"])), wide.fillna(-np.inf)


def ranking_refusal(test: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Why the test systems cannot be ranked against each other; empty if they can.

    Parameters
    ----------
    test, scores : pandas.DataFrame
        As from `on_test`.

    Returns
    -------
    str
    """
    n_pos, n_groups = int(test["label"].sum()), test.loc[~test["label"], "group"].nunique()
    if not len(test):
        return "no training system has the role test; enlarge the training sample (samples.train)"
    if not 0 < n_pos < len(test):
        return f"{n_pos} of {len(test)} test systems are tandems; a ranking needs both kinds: enlarge samples.train"
    if n_groups < 2:
        return "all test systems that are no tandem are one group; intervals need two: enlarge samples.train"
    return "" if len(scored(scores)) else "no head has scored a test system; the fits say why"


def probability_refusal(test: pd.DataFrame) -> str:
    """Why nothing can be said of the probabilities of the test systems; see `ranking_refusal`."""
    return (
        "" if test["probability"].notna().any() else "no test system has a calibrated probability; the fusion says why"
    )


def counts_refusal(held_out: pd.DataFrame) -> str:
    """Why the probabilities cannot be carried to another prevalence; see `ranking_refusal`."""
    test = held_out[held_out["role"] == "test"]
    if reason := probability_refusal(test):
        return reason
    if "calibrate" not in set(held_out["role"]):
        return "no system here has calibrated anything: the models are of another run"
    for role in ("calibrate", "test"):
        labels = held_out.loc[held_out["role"] == role, "label"]
        if not 0 < labels.sum() < len(labels):
            kind = f"{int(labels.sum())} of {len(labels)} systems of the role {role} are tandems"
            return f"{kind}; a prevalence needs both kinds: enlarge samples.train"
    return ""


def scored(scores: pd.DataFrame) -> list[str]:
    """Heads with a score of any test system.

    Parameters
    ----------
    scores : pandas.DataFrame
        As from `on_test`.

    Returns
    -------
    list of str
    """
    return [head for head in scores if np.isfinite(scores[head]).any()]


def lead_head(heads: list[str]) -> str:
    """The head whose figures stand for the run: fused where there is one.

    Parameters
    ----------
    heads : list of str
        Those that have a score; not empty.

    Returns
    -------
    str
    """
    return next((head for head in REFERENCES if head in heads), heads[0])


def is_expert(test: pd.DataFrame) -> np.ndarray:
    """Whether experts would recover the arcs of a system (Rojas et al. 2023), from S/N and Einstein radius over seeing.

    Parameters
    ----------
    test : pandas.DataFrame
        As from `on_test`.

    Returns
    -------
    (n,) bool ndarray
    """
    return ((test["snr_brightest"] >= EXPERT_SNR) & (test["theta_e_fwhm"] >= EXPERT_RADIUS)).to_numpy()


def head_metrics(test: pd.DataFrame, scores: pd.DataFrame, seed: int) -> pd.DataFrame:
    """All figures of merit of every head; see `tandemlens.learn.resample.summarise`.

    Parameters
    ----------
    test, scores : pandas.DataFrame
        As from `on_test`.
    seed : int
        All heads share the draws.

    Returns
    -------
    pandas.DataFrame
        Columns `METRICS`. A head without any score has one row, the metric ``unscored``. The one with the name fused
        has Brier score and ECE of the probabilities.
    """
    expert = is_expert(test) | ~test["label"].to_numpy()
    tables = []
    for head in scores:
        if head not in scored(scores):
            n_pos = int(test["label"].sum())
            row = {"part": "overall", "name": "all", "metric": "unscored", "value": 1.0, "low": 1.0, "high": 1.0}
            tables.append(pd.DataFrame([{**row, "n_pos": n_pos, "n_neg": len(test) - n_pos, "head": head}]))
            continue
        known = head == "fused" and not probability_refusal(test)
        for rows, regime in ((np.ones(len(test), bool), False), (expert, True)):
            part = test[rows]
            table = summarise(
                scores.loc[rows, head],
                part["label"],
                np.random.default_rng(seed),
                part["group"].to_numpy(),
                survey=None if regime else part["survey"],
                contrast=part["class"],
                probabilities=part["probability"].fillna(0.0) if known and not regime else None,
                draws=_DRAWS,
                level=_LEVEL,
            )
            tables.append((_as_regime(table) if regime else table).assign(head=head))
    return pd.concat(tables, ignore_index=True)[[c.name for c in METRICS]]


def _as_regime(table: pd.DataFrame) -> pd.DataFrame:
    """Parts of a summary of the tandems that experts recover."""
    overall = table["part"] == "overall"
    return table.assign(
        part=np.where(overall, "regime", "regime_contrast"), name=table["name"].where(~overall, "expert")
    )


def ideal_detection(snr: "ArrayLike", fpr: float) -> np.ndarray:
    """Chance that a matched filter detects an arc whose shape, place and colour it knows, in Gaussian noise.

    ``Phi(S/N - Phi^-1(1 - FPR))``: the filter's output has unit variance and the mean S/N with the arc, 0 without. It
    bounds what can be seen, not what can be told: an arc of a second cluster is not yet a tandem.

    Parameters
    ----------
    snr : array_like
    fpr : float
        Share of empty sky that the filter takes for an arc.

    Returns
    -------
    ndarray
    """
    return norm.cdf(np.asarray(snr, float) - norm.isf(fpr))


def completeness_table(test: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Share of the tandems that every head finds, in bins of size, S/N, magnitude and seeing.

    Parameters
    ----------
    test, scores : pandas.DataFrame
        As from `on_test`.

    Returns
    -------
    pandas.DataFrame
        Columns `COMPLETENESS`. The interval takes systems as independent; `ideal` is the mean of `ideal_detection`
        over the tandems of the bin.
    """
    tables = []
    for head in scored(scores):
        for fpr in FPRS:
            threshold = threshold_at_fpr(scores[head], test["label"], fpr)
            for quantity, edges in EDGES.items():
                table = completeness(scores[head], test["label"], test[quantity], edges, threshold, _LEVEL)
                table["ideal"] = _ideal_of_bins(test, test[quantity], table, fpr)
                known = table["from"].notna() | (table["n"] > 0)
                tables.append(table[known].assign(head=head, fpr=fpr, quantity=quantity))
    return pd.concat(tables, ignore_index=True)[[c.name for c in COMPLETENESS]]


def _ideal_of_bins(test: pd.DataFrame, values: pd.Series, table: pd.DataFrame, fpr: float) -> list[float]:
    values = values[test["label"]].to_numpy()
    chance = ideal_detection(test.loc[test["label"], "snr_brightest"], fpr)
    inside = [(values >= low) & (values < high) for low, high in zip(table["from"][:-1], table["to"][:-1], strict=True)]
    inside.append(~np.any(inside, axis=0))
    return [float(chance[rows].mean()) if rows.any() else np.nan for rows in inside]


def shifted_counts(held_out: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Number of tandems that the probabilities promise at other shares of tandems, against the number that is there.

    Tandems among the test systems are weighted by ``n pi / n_pos`` and others by ``n (1 - pi) / n_neg``, so that
    ``n pi`` of n are tandems. The probabilities, which hold at the share among the systems of the role calibrate, are
    carried to pi. Their weighted sum is compared with ``n pi`` in units of its standard deviation over bootstrap
    samples of groups, each weighted to pi anew. That is the scatter of the test systems; what the calibration is
    uncertain by shows in the sums of the ends of the intervals of the probabilities.

    Parameters
    ----------
    held_out : pandas.DataFrame
        Columns `HELD_OUT`; a missing probability counts as 0.
    seed : int

    Returns
    -------
    pandas.DataFrame
        Columns `COUNTS`.
    """
    test = held_out[held_out["role"] == "test"]
    labels = test["label"].to_numpy()
    calibrated = held_out.loc[held_out["role"] == "calibrate", "label"].mean()
    code, names = pd.factorize(test["group"])
    counts = group_draws(len(names), _DRAWS, np.random.default_rng(seed))
    rows = []
    for prevalence in (labels.mean(), *PREVALENCES):

        def expected(column: str, counts: np.ndarray, prevalence: float = prevalence) -> np.ndarray:
            p = shift_prior(test[column].fillna(0.0).to_numpy(), calibrated, prevalence)
            return _weighted_sum(p, labels, prevalence, counts)

        once = np.ones((1, len(labels)))
        total, present = expected("probability", once)[0], len(labels) * prevalence
        drawn = np.concatenate([expected("probability", some) for some in draws_of(counts, code)])
        # draws without a tandem, or without anything else, have no such sum
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        row = {"prevalence": prevalence, "n": len(labels), "present": present, "expected": total}
        row |= {"low": low, "high": high, "sigma": drawn.std(), "excess": float(ratio(total - present, drawn.std()))}
        for end in ("low", "high"):
            known = test[f"probability_{end}"].notna().any()
            row[f"calibration_{end}"] = expected(f"probability_{end}", once)[0] if known else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def _weighted_sum(p: np.ndarray, labels: np.ndarray, prevalence: float, counts: np.ndarray) -> np.ndarray:
    """Sum of (n,) probabilities with lenses weighted to a prevalence, for (d, n) times that every system is there."""
    lenses, others = (ratio(counts[:, of] @ p[of], counts[:, of].sum(1)) for of in (labels, ~labels))
    return len(labels) * (prevalence * lenses + (1 - prevalence) * others)


def paired_table(test: pd.DataFrame, scores: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Difference of the references to every other head; see `tandemlens.learn.resample.paired_difference`.

    Parameters
    ----------
    test, scores : pandas.DataFrame
        As from `on_test`.
    seed : int
        All pairs share the draws.

    Returns
    -------
    pandas.DataFrame
        Columns `PAIRED`; heads without any score are left out.
    """
    n_pos, heads = int(test["label"].sum()), scored(scores)
    references = [head for head in REFERENCES if head in heads]
    rows = []
    for place, a in enumerate(references):
        for b in (head for head in heads if head not in references[: place + 1]):
            for metric in COMPARED:
                rng = np.random.default_rng(seed)
                pair = paired_difference(
                    scores[a], scores[b], test["label"], metric, rng, test["group"].to_numpy(), None, _DRAWS, _LEVEL
                )
                names = {"a": a, "b": b, "value_a": pair["a"], "value_b": pair["b"]}
                rows.append({**pair, **names, "n_pos": n_pos, "n_neg": len(test) - n_pos})
    return pd.DataFrame(rows)[[c.name for c in PAIRED]] if rows else empty_frame(PAIRED)
