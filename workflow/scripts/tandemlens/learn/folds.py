"""Who learns from what: systems that share sky, canvas or source play one role and stand in one fold."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from astropy import units as u
from astropy_healpix import HEALPix
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tandemlens.base.columns.folds import COLUMNS
from tandemlens.base.errors import InputError
from tandemlens.survey.targets import NONE, field_groups

ROLES = ("train", "stop", "calibrate", "fuse", "test")
DROPPED = "dropped"
DEFAULTS: dict[str, Any] = {
    "shares": {"train": 0.5, "stop": 0.1, "calibrate": 0.1, "fuse": 0.1, "test": 0.2},
    "n_folds": 5,
    "radius_arcmin": 30.0,
    "held_out_surveys": (),
    "held_out_blocks": (),
    "nside": 8,
}
#: systems that agree in one of these must not be told apart; the first two are asked for, the others may be absent
LINKS = ("group_id", "canvas", "cluster", "source", "halo", "light_cone", "anchor")
_NEEDED = ("target_id", "group_id", "canvas", "ra", "dec", "class", "label", "survey", "theta_e")
#: the fairest of this many shuffles is kept
_SHUFFLES = 10
#: relative difference of misfits that is none
_TIE = 1e-9


def assign_folds(systems: pd.DataFrame, settings: dict[str, Any], rng: np.random.Generator) -> pd.DataFrame:
    """Give every system a role and a fold, both the same for all systems of a group.

    Groups are the connected components of all links: an equal value in a column of `LINKS`, or a separation below
    ``radius_arcmin``, and less in a crowd (`tandemlens.survey.targets.field_groups`). They are dealt to the roles in
    proportion to ``shares``, and within each role evenly to the folds, such that label, class, survey, class within
    survey and theta_E (terciles of the positives) are shared out alike, as well as the sizes of groups allow. What is
    held out is the test; all else that is linked to it is dropped.

    Parameters
    ----------
    systems : pandas.DataFrame
        target_id, group_id, canvas, ra and dec (deg), class, label (bool), survey, theta_e (arcsec, NaN if unknown),
        and where known the other columns of `LINKS`. An empty value or ``none`` links nothing; ``source`` may hold
        several names, separated by spaces.
    settings : dict
        Any of `DEFAULTS`: ``shares`` of the roles (sum 1; a role of share 0 is not used), ``n_folds``,
        ``radius_arcmin``, ``held_out_surveys`` (names), ``held_out_blocks`` (HEALPix pixels, nested, of ``nside``).
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        As `tandemlens.base.columns.folds.COLUMNS`, in the order of `systems`; does not depend on that order otherwise.

    Raises
    ------
    InputError
        If a setting or a column cannot be used, or a role or fold would lack positives or negatives.

    Notes
    -----
    A group is dealt as in scikit-learn's `StratifiedGroupKFold` (uneven groups first, each to where it fits best),
    which knows neither unequal shares nor strata that overlap; hence own code. A part's misfit in a stratum is squared
    and divided by its share, so that rare groups follow the Sainte-Lague rule and small roles get theirs too.
    """
    settings = _checked_settings(settings)
    _check_systems(systems)
    frame = systems.sort_values("target_id")
    group = link_groups(frame, settings["radius_arcmin"])
    block = _blocks(frame, settings["nside"])
    strata = _strata(frame)
    role = _roles(frame, group, strata, _held_out(frame, block, settings), settings, rng)
    used = role != DROPPED
    fold = np.full(len(frame), -1)
    # the strata of every role by themselves, so that the folds are alike within each
    within = strata[used].apply(lambda column: column.where(column.isna(), column.astype(str) + " " + role[used]))
    n_folds = int(settings["n_folds"])
    within["all roles"] = "all"
    fold[used] = _deal(group[used], within, dict.fromkeys(range(n_folds), 1.0), rng)
    _check_folds(frame, group, fold, role, n_folds)
    linked = "is linked to systems held out for the test, group "
    reason = np.where(used, "", linked + group.astype(object))
    values = (frame["target_id"].to_numpy(), group, block, fold, role, reason)
    found = pd.DataFrame(dict(zip([c.name for c in COLUMNS], values, strict=True)), index=frame.index)
    return found.loc[systems.index].reset_index(drop=True)


def link_groups(systems: pd.DataFrame, radius_arcmin: float) -> np.ndarray:
    """Connected components of all links between systems (union-find).

    Parameters
    ----------
    systems : pandas.DataFrame
        As for `assign_folds`.
    radius_arcmin : float

    Returns
    -------
    (n,) ndarray of str
        Name of the group: the first of its systems in alphabetical order.
    """
    places = systems["ra"].to_numpy(float), systems["dec"].to_numpy(float)
    near = field_groups(*places, np.arange(len(systems)), radius_arcmin)
    edges = [(np.arange(len(systems)), near)]
    for link in LINKS:
        if link in systems:
            edges.append(_values(systems[link]))
    n_nodes, rows, columns = len(systems), [], []
    for row, value in edges:
        code, names = pd.factorize(value)
        rows.append(row)
        columns.append(n_nodes + code)
        n_nodes += len(names)
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(n_nodes, n_nodes))
    label = connected_components(graph, directed=False)[1][: len(systems)]
    return systems["target_id"].groupby(label).transform("min").to_numpy()


def balance(systems: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """What every role got, for the eye: how many systems of each label, class, survey and theta_E tercile.

    Parameters
    ----------
    systems : pandas.DataFrame
        As for `assign_folds`.
    folds : pandas.DataFrame
        From `assign_folds`, in the same order.

    Returns
    -------
    pandas.DataFrame
        Columns of (stratum, role, n, share); share is that of the stratum's systems which are not dropped.
    """
    strata = _strata(systems.reset_index(drop=True)).assign(role=folds["role"].to_numpy())
    long = strata.melt("role", value_name="stratum").dropna()
    counts = long.groupby(["stratum", "role"]).size().rename("n").reset_index()
    used = counts[counts["role"] != DROPPED].groupby("stratum")["n"].sum()
    counts["share"] = counts["n"] / counts["stratum"].map(used)
    counts.loc[counts["role"] == DROPPED, "share"] = np.nan
    return counts


def _strata(frame: pd.DataFrame) -> pd.DataFrame:
    """Strata of every system, one kind a column; None where a system has none of that kind."""
    label = frame["label"].astype(bool)
    names = {"all": pd.Series("all", frame.index)}
    names["label"] = pd.Series(np.where(label, "positive", "negative"), frame.index)
    names["class"] = "class " + frame["class"].astype(str)
    names["survey"] = "survey " + frame["survey"].astype(str)
    names["both"] = names["class"] + ", " + names["survey"]
    theta = frame["theta_e"].astype(float)
    known = label & np.isfinite(theta)
    edges = np.quantile(theta[known], [1 / 3, 2 / 3]) if known.any() else [0.0, 0.0]
    tercile = pd.Series(1 + np.searchsorted(edges, theta), frame.index).astype(str)
    names["tercile"] = ("theta_E tercile " + tercile).where(known, None)
    return pd.DataFrame(names).astype(object)


def _roles(
    frame: pd.DataFrame,
    group: np.ndarray,
    strata: pd.DataFrame,
    held: np.ndarray,
    settings: dict[str, Any],
    rng: np.random.Generator,
) -> np.ndarray:
    """Role of every system; what is held out is the test, and the rest of its groups is dropped."""
    shares = {role: share for role, share in settings["shares"].items() if share > 0}
    wanted = {**shares, "test": 1.0} if held.any() else shares
    if held.any():
        shares.pop("test", None)
    free = ~np.isin(group, group[held])
    _check_groups(frame, group, free, shares)
    role = np.where(held, "test", DROPPED).astype(object)
    role[free] = _deal(group[free], strata[free], shares, rng)
    _check_roles(frame, group, role, wanted)
    return role


def _deal(group: np.ndarray, strata: pd.DataFrame, shares: Mapping[Any, float], rng: np.random.Generator) -> np.ndarray:
    """Deal whole groups to the parts named in `shares`; the fairest of several shuffles."""
    code, names = pd.factorize(group, sort=True)
    counts = _counts(code, len(names), strata)
    # a stratum of fewer groups than parts cannot be shared out; it would only pull the few positives together
    counts = counts[:, (counts > 0).sum(0) >= len(shares)]
    share = np.array(list(shares.values()), float)
    share /= share.sum()
    deals = [_greedy(counts, share, rng.permutation(len(names))) for _ in range(_SHUFFLES)]
    _, part = min(deals, key=lambda deal: deal[0])
    parts = np.empty(len(shares), object)
    parts[:] = list(shares)
    return parts[part[code]]


def _counts(code: np.ndarray, n_groups: int, strata: pd.DataFrame) -> np.ndarray:
    """Systems of every stratum in every group, (groups, strata)."""
    tables = []
    for kind in strata:
        stratum, names = pd.factorize(strata[kind])
        table = np.zeros((n_groups, len(names)))
        known = stratum >= 0
        np.add.at(table, (code[known], stratum[known]), 1)
        tables.append(table)
    return np.hstack(tables)


def _greedy(counts: np.ndarray, share: np.ndarray, shuffled: np.ndarray) -> tuple[float, np.ndarray]:
    """Misfit of a deal, and the part of every group."""
    total = counts.sum(0)
    weight = (counts / total).sum(1)
    wanted = share[:, None] * total
    # a deviation counts by the fraction of the stratum that it is, so that rare strata are not lost among common ones
    scale = wanted * total
    got = np.zeros_like(wanted)
    part = np.empty(len(counts), int)
    # small parts win ties, else a few groups would all go to the large ones
    by_size = np.argsort(share, kind="stable")
    for g in shuffled[np.argsort(-weight[shuffled], kind="stable")]:
        own = np.flatnonzero(counts[g])
        added = counts[g, own]
        cost = (added * (added + 2 * (got[:, own] - wanted[:, own])) / scale[:, own]).sum(1)
        part[g] = by_size[np.argmax(cost[by_size] <= cost.min() + _TIE * np.abs(cost).max())]
        got[part[g], own] += added
    return float(((got - wanted) ** 2 / scale).sum()), part


def _values(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Rows and values of the links of a column."""
    text = column.astype(object).where(column.notna(), "").astype(str).str.strip().reset_index(drop=True)
    if column.name == "source":
        text = text.str.split().explode().fillna("")
    text = text[~text.str.lower().isin(("", NONE))]
    return text.index.to_numpy(), text.to_numpy()


def _blocks(frame: pd.DataFrame, nside: int) -> np.ndarray:
    ra, dec = frame["ra"].to_numpy(float) * u.deg, frame["dec"].to_numpy(float) * u.deg
    return HEALPix(nside, order="nested").lonlat_to_healpix(ra, dec)


def _held_out(frame: pd.DataFrame, block: Any, settings: dict[str, Any]) -> Any:
    surveys, blocks = list(settings["held_out_surveys"]), list(settings["held_out_blocks"])
    for what, wanted, known in (("survey", surveys, set(frame["survey"])), ("block", blocks, set(block.tolist()))):
        strange = [name for name in wanted if name not in known]
        if strange:
            raise InputError(
                f"held_out_{what}s holds {strange[0]!r}, which has no system; use some of "
                f"{', '.join(sorted(map(str, known))[:20])}"
            )
    return frame["survey"].isin(surveys).to_numpy() | np.isin(block, blocks)


def _checked_settings(settings: dict[str, Any]) -> dict[str, Any]:
    strange = sorted(set(settings) - set(DEFAULTS))
    if strange:
        raise InputError(f"settings of the folds hold the unknown key {strange[0]!r}; use some of {list(DEFAULTS)}")
    settings = {**DEFAULTS, **settings}
    shares = settings["shares"]
    values = np.array([shares.get(role, np.nan) for role in ROLES], float)
    if set(shares) != set(ROLES) or not (values >= 0).all() or abs(values.sum() - 1) > 1e-6 or shares["train"] == 0:
        raise InputError(
            f"shares of the roles are {shares}; give one of 0 or more to each of {', '.join(ROLES)}, "
            "above 0 for train, that sum to 1"
        )
    if settings["n_folds"] < 2 or settings["n_folds"] != int(settings["n_folds"]):
        raise InputError(f"n_folds is {settings['n_folds']!r}; give a whole number of 2 or more")
    return {**settings, "shares": {role: float(shares[role]) for role in ROLES}}


def _check_systems(systems: pd.DataFrame) -> None:
    missing = [name for name in _NEEDED if name not in systems]
    if missing:
        raise InputError(f"the table of systems lacks the columns {missing}; join those of targets and systems first")
    twice = systems["target_id"][systems["target_id"].duplicated()]
    if len(twice):
        raise InputError(f"the table of systems holds target_id {twice.iloc[0]!r} more than once; keep one row of it")
    if not systems.index.is_unique:
        raise InputError("the table of systems has repeated index values; call reset_index(drop=True) first")
    ra, dec = systems["ra"].to_numpy(float), systems["dec"].to_numpy(float)
    bad = ~(np.isfinite(ra) & (np.abs(dec) <= 90))
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"system {systems['target_id'].iloc[i]!r} lies at ra {ra[i]}, dec {dec[i]}, which is no place on the sky; "
            "correct or remove the row"
        )
    if systems["label"].isna().any() or not systems["label"].isin((True, False)).all():
        odd = systems.loc[~systems["label"].isin((True, False)), "target_id"].iloc[0]
        raise InputError(f"system {odd!r} has a label that is neither true nor false; label it or remove the row")


def _check_groups(frame: pd.DataFrame, group: np.ndarray, free: np.ndarray, shares: Mapping[Any, float]) -> None:
    """Enough groups, of either label, for the roles that are still to be dealt."""
    label = frame["label"].to_numpy(bool)
    whose = (("", free), (" with positives", free & label), (" with negatives", free & ~label))
    for what, members in whose:
        n = len(np.unique(group[members]))
        if n < len(shares):
            largest = pd.Series(group[free]).value_counts()
            size = f"the largest holds {largest.iloc[0]} of {free.sum()} systems" if len(largest) else "none is left"
            raise InputError(
                f"{n} groups{what} cannot fill the {len(shares)} roles {', '.join(shares)} ({size}); add systems on "
                "other sky, set the share of a role to 0, or cut the links: a smaller radius_arcmin, sources and "
                "canvases that are dealt to roles before painting, less held out"
            )


def _check_roles(frame: pd.DataFrame, group: np.ndarray, role: np.ndarray, wanted: Iterable[str]) -> None:
    label = frame["label"].to_numpy(bool)
    for name in wanted:
        for value, what in ((True, "positives"), (False, "negatives")):
            if not (label[role == name] == value).any():
                n = len(np.unique(group[(label == value) & (role != DROPPED)]))
                raise InputError(
                    f"role {name} got no {what}, which stand in {n} groups; add {what} on other sky, raise the share "
                    f"of {name} or set it to 0, or hold out what has {what}"
                )


def _check_folds(frame: pd.DataFrame, group: np.ndarray, fold: np.ndarray, role: np.ndarray, n_folds: int) -> None:
    label = frame["label"].to_numpy(bool)
    for value, what in ((True, "positives"), (False, "negatives")):
        whose = (role == "train") & (label == value)
        filled = len(np.unique(fold[whose]))
        if filled < n_folds:
            raise InputError(
                f"{len(np.unique(group[whose]))} groups with {what} in role train fill {filled} of {n_folds} folds; "
                f"lower n_folds, raise the share of train or add {what} on other sky"
            )
