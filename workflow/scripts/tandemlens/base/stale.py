"""Why products are stale: Snakemake's dry-run reasons told as files and settings."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

_RULE = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):", re.MULTILINE)
_PARAMS = re.compile(r"Params have changed since last execution: .*?before: (.*) now: (.*?) ?(?:;|$)", re.DOTALL)
_UPSTREAM = "Input files updated by another job"


def stale_causes(dry_run: str) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    """Causes by rule of a dry run's text, and the number of jobs that only follow them.

    Parameters
    ----------
    dry_run : str
        Standard output of ``snakemake --dry-run``.

    Returns
    -------
    causes : dict of (rule, cause) to int
        Number of jobs with this cause of their own; `cause` is a readable phrase.
    followers : dict of rule to int
        Number of jobs that rerun because an earlier one does.
    """
    causes: defaultdict[tuple[str, str], int] = defaultdict(int)
    followers: defaultdict[str, int] = defaultdict(int)
    for rule, reason in _jobs(dry_run):
        own = _own_causes(reason)
        for cause in own:
            causes[rule, cause] += 1
        if not own:
            followers[rule] += 1
    return dict(causes), dict(followers)


def changed_settings(before: list[Any], now: list[Any]) -> list[str]:
    """What differs between the parameters of a job then and now, as readable phrases.

    Parameters
    ----------
    before, now : list
        Values of the parameters that are found on one side only: dicts of code digests or settings, or scalars.

    Returns
    -------
    list of str
    """
    old, new = _flat(before), _flat(now)
    phrases = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) == new.get(key):
            continue
        if key.startswith("tandemlens") or key.endswith(".py"):
            phrases.append(f"code of {key} changed")
        elif not key:
            phrases.append("rows of the target list changed")
        else:
            phrases.append(f"setting {key}: {old.get(key, '(none)')!r} -> {new.get(key, '(none)')!r}")
    return phrases


def _jobs(text: str) -> Iterator[tuple[str, str]]:
    starts = list(_RULE.finditer(text))
    for match, following in zip(starts, [*starts[1:], None][: len(starts)], strict=True):
        block = text[match.end() : following.start() if following else len(text)]
        reason = re.search(r"^\s+reason: (.*)$", block, re.MULTILINE)
        if reason and match.group(1) != "all":
            yield match.group(1), reason.group(1)


def _own_causes(reason: str) -> list[str]:
    causes = []
    params = _PARAMS.search(reason)
    if params:
        try:
            causes += changed_settings(*(ast.literal_eval(f"[{side}]") for side in _sides(params)))
        except (ValueError, SyntaxError):
            causes.append("a setting or file of code changed")
        reason = reason.replace(params.group(0), "")
    for part in filter(None, (p.strip() for p in reason.split(";"))):
        if not part.startswith(_UPSTREAM):
            causes.append(part.split(":")[0].lower() if part.startswith("Missing") else part)
    return causes


def _sides(params: re.Match[str]) -> Iterator[str]:
    return ("" if "nothing exclusive" in side else side.strip() for side in params.groups())


def _flat(values: list[Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for value in values:
        if isinstance(value, dict):
            out.update(_leaves(value, ""))
        else:
            out[""] = value
    return out


def _leaves(mapping: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
