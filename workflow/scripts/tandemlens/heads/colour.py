"""The colour head: the chance that unrelated arcs agree in colour as well as these do."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from sklearn.covariance import LedoitWolf

from tandemlens.base.columns.registry import Column, adjacent_pairs, expand
from tandemlens.base.columns.scores import POPULATION
from tandemlens.base.stage import target_rng
from tandemlens.base.tables import read_table, thinned, write_table
from tandemlens.features.arcs import arc_colours, sequence_at, strongest, well_measured
from tandemlens.features.colour import Subsets, bridged_colours, huber_centroid, quadratic, sequence_offset
from tandemlens.features.sequence import Bands
from tandemlens.heads.declaration import Declaration

if TYPE_CHECKING:
    from tandemlens.features.colour import Colours

DECLARATION = Declaration(
    name="colour",
    score="p_chance",
    kind="pvalue",
    bands=2,
    columns=(
        Column(
            "color_evidence",
            "float64",
            "",
            "-log10(p_chance): the ranking score of the colour head; larger is better",
            ucd="stat.likelihood",
        ),
        Column("p_chance", "float64", "", "chance that unrelated arcs agree as well", 0, 1, ucd="stat.probability"),
        Column(
            "log_bayes",
            "float64",
            "",
            "largest ln Bayes factor over subsets: one common colour against unrelated arcs",
            ucd="stat.likelihood",
        ),
        Column("n_chosen", "int32", "", "arcs in the subset of the largest Bayes factor", 0, ucd="meta.number"),
        Column("chosen", "str", "", "their labels, separated by spaces", ucd="meta.id.part"),
        Column(
            "delta_rs_chosen",
            "float64",
            "",
            "Mahalanobis distance of their colour from the foreground sequence",
            0,
            ucd="stat.value;phot.color",
        ),
        Column("n_population", "int32", "", "segments that stand for unrelated arcs", 0, ucd="meta.number"),
        Column(
            "population",
            "str",
            "",
            "what they are: arcs or galaxies, of other groups, other targets or this field",
            ucd="meta.code.class",
        ),
    ),
    fit_on={"search": ("targets", "segments", "photometry")},
    score_on=("targets", "segments", "photometry", "features", "sequence"),
    environment="sky",
    threads=1,
)

#: fewest segments that make a population
_LEAST_POPULATION = 30
#: prior share of elongated foreground members among arc-like segments
_MEMBER_SHARE = 0.5
#: the simulated null is followed into its tail with an exponential fitted to this top fraction
_TAIL = 0.05
_LEAST_EXCEEDANCES = 20
#: prior scatter of colours where there is no population at all, mag
_BROAD = 0.6
_LOG_2PI = np.log(2 * np.pi)


def fit(shards: list[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]], model_dir: str, cfg: dict[str, Any]) -> None:
    """Gather the colours of unrelated segments, kept by the same rule as those to be scored: the model is this table.

    Parameters
    ----------
    shards : iterable of (targets, segments, photometry)
        Tables of every shard, pandas.DataFrame; one shard at a time is looked at.
    model_dir : str
        Gets ``population.parquet``.
    cfg : dict
        Section ``colour`` of the settings, and ``bands``.
    """
    bands = cfg["bands"]
    kept: Any = None
    columns = expand(POPULATION, bands)
    for targets, segments, photometry in shards:
        frame = segments.merge(photometry, on=["target_id", "label"]).merge(
            targets[["target_id", "group_id"]], on="target_id"
        )
        frame = frame[frame["kind"].isin(("arc", "member", "other"))]
        frame = frame.loc[well_measured(frame, bands, cfg["min_snr"]), [c.name for c in columns]]
        kept = frame if kept is None else pd.concat([kept, frame], ignore_index=True)
        # now and then is enough to bound it
        if len(kept) > 10 * cfg["population"]:
            kept = thinned(kept, cfg["population"], kept["kind"] == "arc")
    kept = thinned(kept, cfg["population"], kept["kind"] == "arc")
    Path(model_dir).mkdir(parents=True, exist_ok=True)
    write_table(Path(model_dir) / "population.parquet", kept, columns)


def score(
    targets: pd.DataFrame,
    segments: pd.DataFrame,
    photometry: pd.DataFrame,
    features: pd.DataFrame,
    sequence_path: str,
    model_dir: str,
    out_path: str,
    cfg: dict[str, Any],
) -> None:
    """Score the targets of a shard that have a feature row of status ok.

    Parameters
    ----------
    targets, segments, photometry, features : pandas.DataFrame
        Tables of the shard.
    sequence_path : str
        Spectrum of an old galaxy.
    model_dir : str
        As written by `fit`.
    out_path : str
        scores/colour.parquet.
    cfg : dict
        Section ``colour`` of the settings, and ``bands``, ``wavelength``, ``width``, ``filter``, ``seed``.
    """
    population = read_table(Path(model_dir) / "population.parquet")
    bands = Bands(*(tuple(cfg[k]) for k in ("bands", "wavelength", "width", "filter")))
    frame = segments.merge(photometry, on=["target_id", "label"])
    by_target = dict(tuple(frame.groupby("target_id")))
    rows = []
    known = targets.set_index("target_id")
    for target_id in features.loc[features["status"] == "ok", "target_id"]:
        target = known.loc[target_id]
        rng = target_rng(target_id, cfg["seed"], 1)
        arcs, colours, used = arc_colours(by_target[target_id], bands.names, cfg)
        brightest = strongest(arcs, cfg["max_segments"])
        arcs, colours = arcs.iloc[brightest], colours[brightest]
        unrelated, what = _population(population, target_id, target["group_id"], bands.names, used)
        sequence = sequence_at(by_target[target_id], target["z"], sequence_path, bands, used)
        evidence = colour_evidence(colours, unrelated, sequence, cfg["floor_mag"], cfg["null_draws"], rng)
        chosen = evidence.pop("chosen")
        labels = " ".join(map(str, arcs["label"].to_numpy()[chosen]))
        rows.append(
            {
                "target_id": target_id,
                **evidence,
                "chosen": labels,
                "n_chosen": int(chosen.sum()),
                "n_population": len(unrelated),
                "population": what,
            }
        )
    write_table(out_path, pd.DataFrame(rows, columns=[c.name for c in DECLARATION.table]), DECLARATION.table)


def colour_evidence(
    colours: "Colours",
    unrelated: np.ndarray,
    sequence: tuple[np.ndarray, np.ndarray],
    floor: float,
    n_draws: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Evidence that some of the arcs share a colour that neither chance nor the foreground sequence explains.

    For every subset of two arcs or more, the Bayes factor of one common colour, drawn from the population (mean m,
    covariance C), against unrelated arcs, each either of the population or a foreground member::

        B = int N(mu; m, C) prod_i N(c_i; mu, S_i + S_int) dmu
            / prod_i [(1 - q) N(c_i; m, C + S_i) + q N(c_i; s, R + S_i)]

    with s, R the foreground sequence and q = 0.5: members that agree because they lie on the sequence gain nothing.
    The largest B over subsets is compared with those of simulated systems of unrelated arcs, whose colours are drawn
    from the population as measured; that accounts for having looked at every subset. The draws hold no extra members:
    the population has its share of them, and more would make agreement of ordinary blue galaxies look rare.

    Parameters
    ----------
    colours : Colours
        Two arcs or more.
    unrelated : (m, p) ndarray, mag
        Colours of the population.
    sequence : (s, R)
        Colour (p,) and covariance (p, p) of the foreground sequence; NaN if unknown.
    floor : float, mag
        S_int is ``floor^2 I``.
    n_draws : int
    rng : numpy.random.Generator

    Returns
    -------
    dict
        color_evidence, p_chance, log_bayes, delta_rs_chosen, and ``chosen``, (n,) bool.
    """
    p = colours.value.shape[1]
    intrinsic = floor**2 * np.eye(p)
    mean, spread = _moments(unrelated, p)
    weigh = _Weigher(colours.covariance, intrinsic, mean, spread, sequence)
    seen = weigh(colours.value[None])[0]
    best = int(np.argmax(seen))
    chosen = weigh.subsets.member[best]
    null = weigh(_unrelated_draws(colours, unrelated, mean, spread, n_draws, rng)).max(1)
    p_chance = tail_probability(seen[best], null)
    mu, _, _, covariance = huber_centroid(colours[chosen], intrinsic)
    return {
        "color_evidence": -np.log10(p_chance),
        "p_chance": p_chance,
        "log_bayes": float(seen[best]),
        "delta_rs_chosen": sequence_offset(mu, covariance, *sequence),
        "chosen": chosen,
    }


def tail_probability(value: float, null: np.ndarray) -> float:
    """Probability of `value` or more under a simulated null, continued by an exponential tail.

    Parameters
    ----------
    value : float
    null : (k,) ndarray

    Returns
    -------
    float
        ``(1 + #{null >= value}) / (k + 1)`` where 20 draws or more lie above, else that of an exponential through the
        upper 5 per cent, so that scores beyond the last draw stay in order.
    """
    above = int((null >= value).sum())
    if above >= _LEAST_EXCEEDANCES:
        return (1 + above) / (len(null) + 1)
    edge = np.quantile(null, 1 - _TAIL)
    scale = max(float((null[null >= edge] - edge).mean()), 1e-6)
    # At least the edge's share and never zero in double precision.
    return float(np.clip(_TAIL * np.exp(-(value - edge) / scale), 1e-300, 1.0))


class _Weigher:
    """ln Bayes factors of all subsets for colours of given errors."""

    def __init__(
        self,
        covariance: np.ndarray,
        intrinsic: np.ndarray,
        mean: np.ndarray,
        spread: np.ndarray,
        sequence: tuple[np.ndarray, np.ndarray],
    ) -> None:
        total = covariance + intrinsic
        self.subsets = Subsets(np.linalg.inv(total), 2)
        self._mean = mean
        prior = np.linalg.inv(spread)
        self._inverse = np.linalg.inv(self.subsets.total + prior)
        logdet_single = np.linalg.slogdet(total)[1]
        self._constant = -0.5 * (
            self.subsets.member @ (logdet_single + len(mean) * _LOG_2PI)
            + np.linalg.slogdet(spread)[1]
            - np.linalg.slogdet(self._inverse)[1]
        )
        known = np.isfinite(sequence[0]).all()
        self._parts = [(1.0 if not known else 1 - _MEMBER_SHARE, mean, covariance + spread)]
        if known:
            self._parts.append((_MEMBER_SHARE, sequence[0], covariance + sequence[1]))

    def __call__(self, value: np.ndarray) -> np.ndarray:
        pull, square = self.subsets.sums(value - self._mean)
        common = self._constant - 0.5 * (square - quadratic(pull, self._inverse))
        single = logsumexp([np.log(w) + _log_normal(value - m, s) for w, m, s in self._parts], axis=0)
        return common - single @ self.subsets.member.T.astype(float)


def _log_normal(away: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(covariance)
    return -0.5 * (quadratic(away, inverse) + np.linalg.slogdet(covariance)[1] + away.shape[-1] * _LOG_2PI)


def _moments(unrelated: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray]:
    if len(unrelated) < max(3, p + 1):
        return (unrelated.mean(0) if len(unrelated) else np.zeros(p)), _BROAD**2 * np.eye(p)
    fitted = LedoitWolf().fit(unrelated)
    return fitted.location_, fitted.covariance_


def _unrelated_draws(
    colours: "Colours",
    unrelated: np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
    n_draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Systems of unrelated arcs: real colours of the population, or its Gaussian with this system's errors."""
    n, p = colours.value.shape
    if len(unrelated) >= _LEAST_POPULATION:
        return unrelated[rng.integers(len(unrelated), size=(n_draws, n))]
    root = np.linalg.cholesky(colours.covariance + spread)
    return mean + np.einsum("nab,knb->kna", root, rng.standard_normal((n_draws, n, p)))


def _population(
    population: pd.DataFrame, target_id: str, group_id: str, bands: tuple[str, ...], used: np.ndarray
) -> tuple[np.ndarray, str]:
    """Colours that stand for unrelated arcs, from the closest kind that has enough of them."""
    colours = population[[f"colour_{pair}" for pair in adjacent_pairs(bands)]].to_numpy(float)
    colours = bridged_colours(colours, used)
    complete = np.isfinite(colours).all(1)
    arcs = (population["kind"] == "arc").to_numpy()
    other_group = (population["group_id"] != group_id).to_numpy()
    other_target = (population["target_id"] != target_id).to_numpy()
    choices = (
        ("arcs of other groups", other_group & arcs),
        ("arcs of other targets of the group", other_target & arcs),
        ("galaxies of other groups", other_group),
        ("galaxies of every group, this one included", np.ones(len(population), bool)),
    )
    for what, chosen in choices:
        if (chosen & complete).sum() >= _LEAST_POPULATION:
            return colours[chosen & complete], what
    return colours[complete], "too few galaxies: broad prior"
