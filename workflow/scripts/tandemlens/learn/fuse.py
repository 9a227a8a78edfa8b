"""Heads fused, calibrated, and carried to the prevalence of the survey: what the ranking of the catalogue rests on.

The fuser is chosen on role fuse, the calibrators and the null of the candidate list are those of role calibrate, and
role test is scored and kept for the evaluation.
"""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tandemlens.base.atomic import write_text
from tandemlens.base.columns.evaluation import HELD_OUT, HELD_OUT_SCORES
from tandemlens.base.columns.scores import FUSED, FUSERS_COMPARED
from tandemlens.base.errors import InputError
from tandemlens.base.status import NO_SEGMENTS, OK
from tandemlens.base.tables import empty_frame, read_table, write_table
from tandemlens.learn.calibrate import Calibrator, fit_calibrator
from tandemlens.learn.fusers import Fuser, fit_fuser
from tandemlens.learn.fusion import BASELINE, choose_fusion
from tandemlens.learn.prior import shift_prior
from tandemlens.learn.prior_estimate import prior_from_counts

log = logging.getLogger("tandemlens")
_FILE = "fusion.json"
#: groups of either class in role fuse without which fusers are not compared: they tune by folds within folds
_LEAST_GROUPS = 4
#: roles that no head was fitted to
UNSEEN = ("calibrate", "fuse", "test")
#: facts of a system that its evaluation asks for
_TRUTH = ("class", "label", "theta_e", "snr_brightest", "mag_brightest")


@dataclass(frozen=True)
class Fusion:
    """Fuser and calibrators, fitted.

    Parameters
    ----------
    fuser : Fuser
    calibrator, bounds : Calibrator
        Of the fused score; `bounds` is of Venn-Abers kind and gives the interval.
    null_scores : list of float
        Fused scores of the non-lenses of role calibrate.
    prior : float
        Share of tandems among the systems of role calibrate.
    prevalence : float
        Share of tandems among the targets, at which probabilities are stated.
    prevalence_by : str
        Where that comes from.
    """

    fuser: Fuser
    calibrator: Calibrator
    bounds: Calibrator
    null_scores: list[float]
    prior: float
    prevalence: float
    prevalence_by: str

    def fuse(self, scores: pd.DataFrame) -> np.ndarray:
        """Fused score of every row.

        Parameters
        ----------
        scores : pandas.DataFrame
            (n, H), a column for each head at least, NaN where it has no score.

        Returns
        -------
        (n,) ndarray
        """
        return self.fuser.fuse(scores[list(self.fuser.heads)])

    def probabilities(self, fused: np.ndarray, prevalence: float) -> pd.DataFrame:
        """Probability of being a tandem, with its interval.

        Parameters
        ----------
        fused : (n,) ndarray
            From `fuse`.
        prevalence : float
            At which it is stated.

        Returns
        -------
        pandas.DataFrame
            Columns probability, probability_low and probability_high; the interval is that of Venn and Abers, which
            holds the error of the calibration, widened where the calibrated value lies outside.
        """
        value = self.calibrator.probability(fused)
        low, high = self.bounds.interval(fused)
        columns = {
            "probability": value,
            "probability_low": np.minimum(low, value),
            "probability_high": np.maximum(high, value),
        }
        return pd.DataFrame({name: shift_prior(p, self.prior, prevalence) for name, p in columns.items()})

    def save(self, folder: str | Path) -> None:
        """Write the fusion into a folder."""
        write_text(Path(folder) / _FILE, json.dumps({"used": True, "reason": "", **asdict(self)}, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> "Fusion | None":
        """Read a fusion.

        Parameters
        ----------
        folder : str or Path

        Returns
        -------
        Fusion or None
            None where the heads could not be fused.
        """
        saved = json.loads((Path(folder) / _FILE).read_text())
        if not saved.pop("used"):
            return None
        saved.pop("reason")
        for name, kind in (("calibrator", Calibrator), ("bounds", Calibrator)):
            saved[name] = kind.from_dict(saved[name])
        return cls(**{**saved, "fuser": Fuser.from_dict(saved["fuser"])})


def fit_fusion(
    scores: pd.DataFrame,
    systems: pd.DataFrame,
    kinds: dict[str, str],
    settings: dict[str, Any],
    rng: np.random.Generator,
    prevalence: tuple[float | None, str] = (None, ""),
) -> tuple[Fusion, pd.DataFrame]:
    """Choose and fit the fuser, and calibrate what it gives.

    Parameters
    ----------
    scores : pandas.DataFrame
        (n, H), one column a head, of systems that no head was fitted to.
    systems : pandas.DataFrame
        role, label and group, in the same order.
    kinds : dict of str
        Kind of the score of every head (`tandemlens.learn.evidence.SCORE_KINDS`).
    settings : dict
        Section ``fusion`` of the settings.
    rng : numpy.random.Generator
    prevalence : (float or None, str)
        Of the survey, and where it is from; None takes that of role calibrate.

    Returns
    -------
    fusion : Fusion
    report : pandas.DataFrame
        How the fusers compared.

    Raises
    ------
    InputError
        If a role lacks tandems or others.
    """
    fusing, calibrating = (np.flatnonzero(systems["role"] == role) for role in ("fuse", "calibrate"))
    silent = [name for name in kinds if not len(fusing) or scores[name].iloc[fusing].isna().all()]
    kinds = {name: kind for name, kind in kinds.items() if name not in silent}
    if not kinds:
        raise InputError(f"no head has a score for any of the {len(fusing)} systems of role fuse; nothing is fused")
    heads, labels = scores[list(kinds)], systems["label"].to_numpy(bool)
    groups = systems["group"].to_numpy()
    per_class = [len(np.unique(groups[fusing][labels[fusing] == kind])) for kind in (False, True)]
    if min(per_class) < _LEAST_GROUPS:
        both = np.concatenate([fusing, calibrating])
        fuser, report = _equal_weights(heads.iloc[both], labels[both], groups[both], rng, kinds)
    else:
        chosen = choose_fusion(heads.iloc[fusing], labels[fusing], groups[fusing], rng, kinds, settings["fusers"])
        fuser, report = chosen.fuser, chosen.report
    fused, truth = fuser.fuse(heads.iloc[calibrating]), labels[calibrating]
    calibrator = fit_calibrator(fused, truth, settings["calibration"])
    prior = float(truth.mean())
    value, source = prevalence
    if not value:
        value, source = prior, "the training sample: nothing is known of the survey"
    fusion = Fusion(
        fuser,
        calibrator,
        fit_calibrator(fused, truth, "venn_abers"),
        np.sort(fused[~truth]).tolist(),
        prior,
        value,
        source,
    )
    return fusion, report


def _equal_weights(
    heads: pd.DataFrame, labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator, kinds: dict[str, str]
) -> tuple[Fuser, pd.DataFrame]:
    """Equal weights, where role fuse is too small to compare anything: the roles fuse and calibrate tell the scales."""
    fuser = fit_fuser(BASELINE, heads, labels, groups, rng, kinds)
    note = f"nothing compared, fewer than {_LEAST_GROUPS} groups of a class; scales from the roles fuse and calibrate"
    row: dict[str, Any] = {c.name: np.nan for c in FUSERS_COMPARED if c.dtype == "float64"}
    row |= {"kind": BASELINE, "beats_equal": False, "chosen": True, "weights": fuser.weights, "note": note}
    return fuser, pd.DataFrame([row])


def survey_prevalence(
    stated: float | None, expected: pd.DataFrame | None, rng: np.random.Generator
) -> tuple[float | None, str]:
    """Share of tandems among the targets.

    Parameters
    ----------
    stated : float or None
        ``fusion.prevalence``.
    expected : pandas.DataFrame or None
        expected.parquet.
    rng : numpy.random.Generator

    Returns
    -------
    value : float or None
    source : str
    """
    if stated:
        return stated, "fusion.prevalence"
    if expected is None or not len(expected):
        return None, ""
    estimate, _ = prior_from_counts(expected, rng)
    if np.isfinite(estimate.alpha):
        return min(estimate.alpha, 0.5), "expected counts (simulated)"
    return min(estimate.bound, 0.5), "upper bound of the expected counts: no simulated second cluster is a tandem"


def write_fusion(
    systems: pd.DataFrame,
    scores: pd.DataFrame,
    kinds: dict[str, str],
    expected: pd.DataFrame | None,
    cfg: dict[str, Any],
    model_dir: str,
    held_out_path: str,
    scores_path: str,
) -> None:
    """Fuse the heads, and write what they give the systems that none of them was fitted to.

    Parameters
    ----------
    systems : pandas.DataFrame
        From `unseen_systems`.
    scores : pandas.DataFrame
        (n, H), in the same order, of all heads, compared ones included.
    kinds : dict of str
        Of the heads that are fused.
    expected : pandas.DataFrame or None
    cfg : dict
        Section ``fusion`` of the settings, and ``survey`` and ``seed``.
    model_dir : str
        Gets ``fusion.json`` and ``report.parquet``. Where the heads cannot be fused, the reason.
    held_out_path, scores_path : str
    """
    folder, rng = Path(model_dir), np.random.default_rng(cfg["seed"])
    folder.mkdir(parents=True, exist_ok=True)
    fusion = None
    try:
        prevalence = survey_prevalence(cfg["prevalence"], expected, rng)
        fusion, report = fit_fusion(scores, systems, kinds, cfg, rng, prevalence)
    except InputError as error:
        log.warning("the heads are not fused: %s", error)
        write_text(folder / _FILE, json.dumps({"used": False, "reason": str(error)}))
        report = empty_frame(FUSERS_COMPARED)
    else:
        fusion.save(folder)
        report = report.assign(weights=[json.dumps(w) for w in report["weights"]])
    write_table(folder / "report.parquet", report, FUSERS_COMPARED)
    write_held_out(systems, scores, kinds, fusion, cfg["survey"], held_out_path, scores_path)


def write_held_out(
    systems: pd.DataFrame,
    scores: pd.DataFrame,
    kinds: dict[str, str],
    fusion: Fusion | None,
    survey: str,
    held_out_path: str,
    scores_path: str,
) -> None:
    """Write what the heads and their fusion give systems that none of them was fitted to.

    Parameters
    ----------
    systems : pandas.DataFrame
        From `unseen_systems`.
    scores : pandas.DataFrame
        (n, H), in the same order, of all heads, compared ones included.
    kinds : dict of str
        Of the heads that are fused.
    fusion : Fusion or None
        None where the heads could not be fused.
    survey : str
    held_out_path, scores_path : str
    """
    if fusion is None:
        systems = systems.assign(**dict.fromkeys(("probability", "probability_low", "probability_high"), np.nan))
    else:
        fused = fusion.fuse(scores)
        systems = pd.concat([systems, fusion.probabilities(fused, fusion.prior)], axis=1)
        scores = scores.assign(fused=fused)
    # a small chance speaks for a lens; here larger is better for every head
    scores = scores.assign(**{h: -np.log10(np.maximum(scores[h], 1e-300)) for h, k in kinds.items() if k == "pvalue"})
    long = scores.assign(target_id=systems["target_id"]).melt("target_id", var_name="head", value_name="score")
    write_table(held_out_path, systems.assign(survey=survey), HELD_OUT)
    write_table(scores_path, long, HELD_OUT_SCORES)


def unseen_systems(folds: pd.DataFrame, systems: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Training systems that no head was fitted to.

    Parameters
    ----------
    folds, systems, measured : pandas.DataFrame
        folds.parquet, systems.parquet and measure.parquet of the training sample.

    Returns
    -------
    pandas.DataFrame
        target_id, role, group, the truth, and fwhm, arcsec.
    """
    unseen = folds.loc[folds["role"].isin(UNSEEN), ["target_id", "role", "group"]]
    unseen = unseen.merge(systems[["target_id", *_TRUTH]], on="target_id", validate="one_to_one")
    return unseen.merge(measured[["target_id", "fwhm"]], on="target_id", how="left").reset_index(drop=True)


def head_scores(target_ids: pd.Series, tables: dict[str, list[str]], columns: dict[str, str]) -> pd.DataFrame:
    """Scores of all heads side by side.

    Parameters
    ----------
    target_ids : pandas.Series
    tables : dict of list of str
        Head -> paths of its tables of scores.
    columns : dict of str
        Head -> column of its score.

    Returns
    -------
    pandas.DataFrame
        (n, H), NaN where a head has no score.
    """
    found = {}
    for name, paths in tables.items():
        table = pd.concat(map(read_table, paths), ignore_index=True).set_index("target_id")
        found[name] = table[columns[name]].reindex(target_ids).to_numpy(float)
    return pd.DataFrame(found)


def score_fused(features: pd.DataFrame, scores: pd.DataFrame, model_dir: str, out_path: str) -> None:
    """Fused scores of a shard.

    Parameters
    ----------
    features : pandas.DataFrame
        target_id and status; a target without segments is scored too, by what its missing scores tell.
    scores : pandas.DataFrame
        From `head_scores`, of all rows of `features`.
    model_dir : str
        As written by `write_fusion`.
    out_path : str
        scores/fused.parquet.
    """
    fusion = Fusion.load(model_dir)
    rows = features["status"].isin((OK, NO_SEGMENTS)).to_numpy()
    out = pd.DataFrame({"target_id": features["target_id"][rows].astype("str").to_numpy()})
    if fusion is None or not len(out):
        out = out.assign(**{c.name: np.nan for c in FUSED if c.name != "target_id"})
    else:
        fused = fusion.fuse(scores[rows])
        out = pd.concat([out.assign(fused=fused), fusion.probabilities(fused, fusion.prevalence)], axis=1)
    write_table(out_path, out, FUSED)
