"""Votes of graders combined: a grade and a probability per target, a reliability per grader."""

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tandemlens.base.columns.grades import GRADE_SCORES, GRADERS, GRADES, LENS, NO_LENS, VOTES
from tandemlens.base.tables import empty_frame, read_table, write_table
from tandemlens.learn.graders import fit_graders
from tandemlens.learn.votes import CALIBRATION, GRADE, SELF_AGREEMENT, read_answers, read_votes, sort_votes

if TYPE_CHECKING:
    from tandemlens.learn.graders import Graders

log = logging.getLogger("tandemlens")
#: mean scores above which a target has the grade, as lens searches of the HSC cut them (SuGOHI)
_CUTS = (0.5, 1.5, 2.5)
_GRADER_OF = ["target_id", "grader"]


def write_grades(
    votes_paths: list[str],
    targets: pd.DataFrame,
    systems: pd.DataFrame,
    calibration_path: str,
    cfg: dict[str, Any],
    outputs: dict[str, str],
) -> None:
    """Read all votes, combine them, and write them with what they say.

    Parameters
    ----------
    votes_paths : list of str
        CSV files of grades.
    targets : pandas.DataFrame
        targets.parquet of the search.
    systems : pandas.DataFrame
        target_id and label of simulated systems, which may have served as calibration cases.
    calibration_path : str
        Table of other known answers; empty without.
    cfg : dict
        Section ``grades`` of the settings.
    outputs : dict of str
        Paths ``votes``, ``grades`` and ``graders``.
    """
    answers = read_answers(calibration_path, systems)
    votes = sort_votes(read_votes(votes_paths), targets["target_id"], answers)
    for status, n in votes["status"].value_counts().items():
        log.info("%d votes: %s", n, status)
    grades, graders = combine(votes, answers, cfg)
    write_table(outputs["votes"], votes, VOTES)
    write_table(outputs["grades"], grades, GRADES)
    write_table(outputs["graders"], graders, GRADERS)


def graded_columns(frame: pd.DataFrame, grades_path: str) -> pd.DataFrame:
    """What the catalogue says of grades.

    Parameters
    ----------
    frame : pandas.DataFrame
        Targets with the columns of the heads; a head that learns from grades has one that ends in ``_label``.
    grades_path : str
        grades.parquet.

    Returns
    -------
    pandas.DataFrame
        `frame` with the columns of `tandemlens.base.columns.grades.GRADED`.
    """
    grades = read_table(grades_path, ["target_id", "grade", "grade_score", "n_votes", "p_lens"])
    labels = frame[[name for name in frame if name.endswith("_label")]].fillna("")
    frame = frame.merge(grades, on="target_id", how="left").fillna({"grade": "", "n_votes": 0})
    return frame.assign(used_as_label=(labels != "").any(axis=1).to_numpy())


def combine(votes: pd.DataFrame, answers: dict[str, bool], cfg: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What votes say of targets and of graders.

    Parameters
    ----------
    votes : pandas.DataFrame
        From `tandemlens.learn.votes.sort_votes`.
    answers : dict of bool
        target_id -> whether it is a tandem, of calibration cases.
    cfg : dict
        Section ``grades`` of the settings.

    Returns
    -------
    grades, graders : pandas.DataFrame
        As `grades.parquet` and `graders.parquet`.
    """
    votes = votes.assign(score=votes["grade"].map(GRADE_SCORES))
    counted = votes[votes["used_for"].isin((GRADE, CALIBRATION))]
    if counted.empty:
        return empty_frame(GRADES), empty_frame(GRADERS)
    # a target that was also shown as a calibration case is two systems: its answer does not answer the search
    systems = pd.MultiIndex.from_frame(counted[["used_for", "target_id"]])
    system, names = pd.factorize(systems, sort=True)
    grader, who = pd.factorize(counted["grader"], sort=True)
    answer = np.array([answers[target] if use == CALIBRATION else np.nan for use, target in names], float)
    fitted = fit_graders(grader, system, counted["score"].to_numpy(int), answer, cfg["prevalence"], cfg["prior_votes"])
    probability = pd.Series(fitted.probability, names)
    return _of_targets(votes, probability, cfg), _of_graders(votes, who, fitted)


def _of_targets(votes: pd.DataFrame, probability: pd.Series, cfg: dict[str, Any]) -> pd.DataFrame:
    scores = votes[votes["used_for"] == GRADE].groupby("target_id")["score"]
    if not len(scores):
        return empty_frame(GRADES)
    mean, letters = scores.mean(), np.array(list(GRADE_SCORES), object)
    grades = pd.DataFrame(
        {
            "grade": letters[np.searchsorted(_CUTS, mean)],
            "grade_score": mean,
            "grade_spread": scores.std(),
            "n_votes": scores.size(),
            "p_lens": probability[GRADE].reindex(mean.index),
        }
    )
    enough = grades["n_votes"] >= cfg["least_votes"]
    lens, other = grades["p_lens"] >= cfg["positive"], (grades["p_lens"] <= cfg["negative"]) & (grades["grade"] == "X")
    grades["label"] = np.select([enough & lens, enough & other], [LENS, NO_LENS], "")
    return grades.reset_index()


def _of_graders(votes: pd.DataFrame, who: pd.Index, fitted: "Graders") -> pd.DataFrame:
    used = {use: votes[votes["used_for"] == use] for use in (GRADE, SELF_AGREEMENT, CALIBRATION)}
    first, again = (used[use].set_index(_GRADER_OF)["score"] for use in (GRADE, SELF_AGREEMENT))
    change = (again - first.reindex(again.index)).abs().groupby("grader")
    graders = pd.DataFrame(
        {
            "n_votes": used[GRADE].groupby("grader").size(),
            "mean_score": used[GRADE].groupby("grader")["score"].mean(),
            "n_duplicates": change.size(),
            "self_agreement": change.agg(lambda steps: (steps == 0).mean()),
            "self_difference": change.mean(),
            "n_calibration": used[CALIBRATION].groupby("grader").size(),
        },
        index=pd.Index(who, name="grader"),
    ).fillna({"n_votes": 0, "n_duplicates": 0, "n_calibration": 0})
    chances = {
        f"{truth}_{letter.lower()}": fitted.chances[:, row, score]
        for row, truth in ((1, LENS), (0, NO_LENS))
        for letter, score in GRADE_SCORES.items()
    }
    return graders.assign(reliability=fitted.reliability, **chances).reset_index()
