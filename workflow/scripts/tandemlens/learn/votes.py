"""Votes of graders, from the CSV files of the inspection page: every row is kept, with what it is used for."""

import csv
import io
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tandemlens.base.columns.grades import GRADE_SCORES, VOTE_FIELDS, VOTES
from tandemlens.base.errors import InputError
from tandemlens.base.status import OK
from tandemlens.base.tables import empty_frame

log = logging.getLogger("tandemlens")
KINDS = ("first", "duplicate", "calibration")
GRADE, SELF_AGREEMENT, CALIBRATION = "grade", "self_agreement", "calibration"
#: status of a vote -> what it means
VOTE_STATUS = {
    OK: "used",
    "bad_file": "the file cannot be read, or is no table of grades",
    "bad_row": "the row has more or fewer cells than the header, or broken quotes",
    "no_grader": "nobody is named",
    "bad_grade": "the grade is none of A, B, C, X",
    "bad_kind": "the kind is none of first, duplicate, calibration",
    "bad_time": "the time is not ISO 8601",
    "repeated": "the very same vote stands in an earlier row, as in an earlier export of one session",
    "superseded": "the grader has graded the target again later",
    "unknown_target": "the search has no such target",
    "no_answer": "a calibration case whose answer is not known",
}
_FIELDS = [c.name for c in VOTE_FIELDS]
#: the fields that a file must have, and what the others are where it has not
_NEEDED = ("target_id", "grade", "grader")
_ABSENT = {**dict.fromkeys(_FIELDS, ""), "kind": KINDS[0], "position": "-1"}
_ANSWERS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def read_votes(paths: list[str]) -> pd.DataFrame:
    """Every row of the files.

    Parameters
    ----------
    paths : list of str
        CSV (RFC 4180, UTF-8) with the columns target_id, grade, grader and, if known, note, session, position, kind,
        time, run_id. What cannot be read becomes a row that says so.

    Returns
    -------
    pandas.DataFrame
        As `votes.parquet`, without used_for.
    """
    rows = [row for path in paths for row in _file_rows(path)]
    return pd.DataFrame(rows) if rows else empty_frame([c for c in VOTES if c.name != "used_for"])


def read_answers(calibration_path: str, systems: pd.DataFrame) -> dict[str, bool]:
    """Known answers of calibration cases.

    Parameters
    ----------
    calibration_path : str
        CSV with the columns target_id and lens (1 or 0); empty without.
    systems : pandas.DataFrame
        target_id and label of simulated systems; the table overrules it.

    Returns
    -------
    dict of bool
        target_id -> whether it is a tandem.

    Raises
    ------
    InputError
        If the table lacks a column or an answer is neither yes nor no.
    """
    answers = dict(zip(systems["target_id"], systems["label"].astype(bool), strict=True))
    if not calibration_path:
        return answers
    try:
        table = pd.read_csv(calibration_path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise InputError(
            f"the known answers {calibration_path} cannot be read as CSV: {error}; mend the file"
        ) from error
    if missing := [name for name in ("target_id", "lens") if name not in table]:
        raise InputError(f"the known answers {calibration_path} lack the column {missing[0]}; give target_id and lens")
    known = table["lens"].str.strip().str.lower().map(_ANSWERS)
    if known.isna().any():
        row = int(np.flatnonzero(known.isna())[0])
        raise InputError(
            f"row {row + 1} of the known answers {calibration_path} has lens {table['lens'][row]!r}; give 1 for a "
            "tandem, 0 for none"
        )
    return {**answers, **dict(zip(table["target_id"].str.strip(), known.astype(bool), strict=True))}


def sort_votes(votes: pd.DataFrame, targets: Sequence[str], answers: dict[str, bool]) -> pd.DataFrame:
    """Say what each vote is used for.

    Of one grader the last vote on a target counts. A second look that was blind does not count but tells how well the
    grader agrees with himself, and a calibration case tells how well with the truth.

    Parameters
    ----------
    votes : pandas.DataFrame
        From `read_votes`.
    targets : sequence of str
        Targets of the search.
    answers : dict of bool
        From `read_answers`.

    Returns
    -------
    pandas.DataFrame
        As `votes.parquet`.
    """
    votes = votes.assign(used_for="").reset_index(drop=True)
    key = ["target_id", "grader", "session", "position", "kind", "time", "grade"]
    _refuse(votes, votes.duplicated(key), "repeated", "the same vote stands in an earlier row")
    calibration, targets = votes["kind"] == KINDS[2], set(targets)
    _refuse(
        votes,
        ~calibration & ~votes["target_id"].isin(targets),
        "unknown_target",
        "the search has no target of this name; it may come from another run",
    )
    _refuse(
        votes,
        calibration & ~votes["target_id"].isin(answers),
        "no_answer",
        "the answer of this calibration case is not known; list it in grades.calibration",
    )
    # files are read in the order of their names, so of two votes without time the one read later stands
    order = votes.assign(when=votes["time"].map(_moment)).sort_values("when", kind="stable").index
    later = votes.loc[order][votes.loc[order, "status"] == OK].duplicated(["target_id", "grader", "kind"], keep="last")
    _refuse(votes, votes.index.isin(later.index[later]), "superseded", "the grader has graded this target again later")
    good = votes["status"] == OK
    first = pd.MultiIndex.from_frame(votes.loc[good & (votes["kind"] == KINDS[0]), ["target_id", "grader"]])
    again = (votes["kind"] == KINDS[1]) & pd.MultiIndex.from_frame(votes[["target_id", "grader"]]).isin(first)
    votes["used_for"] = np.select([~good, calibration, again], ["", CALIBRATION, SELF_AGREEMENT], GRADE)
    return votes


def _refuse(votes: pd.DataFrame, which: pd.Series | np.ndarray, status: str, reason: str) -> None:
    """Give a status to those of the votes that still have none."""
    which = which & (votes["status"] == OK)
    votes.loc[which, ["status", "reason"]] = status, reason


def _file_rows(path: str) -> list[dict[str, Any]]:
    """Rows of one file."""
    try:
        # undecoded line ends: a note may hold some
        text = Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return [_row(path, 0, {}, "bad_file", f"the file cannot be read as UTF-8: {error}")]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, header = [], None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            rows.append(_row(path, reader.line_num, {}, "bad_row", f"no CSV after RFC 4180: {error}"))
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if missing := [name for name in _NEEDED if name not in header]:
                said = f"the header {','.join(header)[:80]!r} lacks {', '.join(missing)}; give columns by comma"
                return [*rows, _row(path, 0, {}, "bad_file", said)]
            if strange := sorted(set(header) - set(_FIELDS)):
                log.warning("%s: the columns %s are not read", path, ", ".join(strange))
        elif cells:
            rows.append(_vote(path, reader.line_num, header, cells))
    return rows if header is not None else [*rows, _row(path, 0, {}, "bad_file", "the file is empty")]


def _vote(path: str, line: int, header: list[str], cells: list[str]) -> dict[str, Any]:
    named = dict(zip(header, cells, strict=False))
    if len(cells) != len(header):
        return _row(path, line, named, "bad_row", f"the row has {len(cells)} cells, the header {len(header)}")
    row = _row(path, line, named)
    refusals = {
        "no_grader": "" if row["grader"] else "the grader is empty",
        "bad_grade": "" if row["grade"] in GRADE_SCORES else f"the grade {row['grade'][:80]!r} is none of A, B, C, X",
        "bad_kind": "" if row["kind"] in KINDS else f"the kind {row['kind'][:80]!r} is none of {', '.join(KINDS)}",
        "bad_time": "" if not np.isnan(_moment(row["time"])) else f"the time {row['time'][:80]!r} is not ISO 8601",
    }
    status, reason = next(((s, r) for s, r in refusals.items() if r), (OK, ""))
    return {**row, "status": status, "reason": reason}


def _row(path: str, line: int, named: dict[str, str], status: str = OK, reason: str = "") -> dict[str, Any]:
    """A row of the table from the cells of a line; the note alone stays as it was written."""
    cells: dict[str, Any] = {
        name: named.get(name, "") if name == "note" else named.get(name, "").strip() for name in _FIELDS
    }
    cells = {name: cell or _ABSENT[name] for name, cell in cells.items()}
    place = cells["position"]
    cells |= {"grade": cells["grade"].upper(), "kind": cells["kind"].lower()}
    cells["position"] = int(place) if place.isdecimal() and len(place) < 10 else -1
    return {"file": str(path), "line": line, **cells, "status": status, "reason": reason}


def _moment(text: str) -> float:
    """Time of a vote, Unix time in s; NaN where it is none."""
    if not text:
        return -np.inf
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return np.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
