"""What each component adds to the ranking: the test systems scored with and without it, from the same systems.

The reference is the head classic, refitted without a search for hyperparameters, fused with the other heads by the kind
of fuser that the run chose. A component is taken away from it, everything that learns is fitted anew, and the two are
compared by bootstrap over groups. Heads are fitted to the roles train and stop, fusers to fuse, calibrators to
calibrate, and the role test is only looked at here. What is taken away from the features is compared with the heads
colour and classic alone, since other heads have seen it. All of it is simulated, and each row stands for itself:
components overlap, and what they add does not add up.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit

from tandemlens.base.columns.evaluation import ABLATION
from tandemlens.base.errors import InputError
from tandemlens.base.status import OK
from tandemlens.heads.classic import DECLARATION, fit_classic
from tandemlens.learn.calibrate import fit_calibrator
from tandemlens.learn.evaluate import ranking_refusal
from tandemlens.learn.fusers import FUSERS, fit_fuser
from tandemlens.learn.fusion import BASELINE
from tandemlens.learn.matrix import feature_names
from tandemlens.learn.prior import shift_prior
from tandemlens.learn.resample import CALIBRATION, paired_difference
from tandemlens.learn.trees import Trees

if TYPE_CHECKING:
    from tandemlens.heads.classic import Classic
    from tandemlens.learn.fuse import Fusion

log = logging.getLogger("tandemlens")
#: what rankings are compared in
METRICS = ("tpr_at_fpr_0.01", "tpr10")
#: name of the road without PSF matching
UNMATCHED = "unmatched"
#: what brings a road that is not there
_MISSING = {
    UNMATCHED: "there are no features and colour scores without it for every shard: give the results folder of a run "
    "of the same samples and seed with match.common_psf false, as the setting ablation.others.psf_matching",
}
#: features of a component
COLOUR = ("s_color*", "x2", "tau", "n_best", "delta_rs*", "photoz_overlap", "colour_gradient*")
BEHIND = ("behind_*", "red_*", "blue_*", "second_*")
SECOND = ("second_*",)
SEQUENCE = ("lambda_bg*",)
#: heads that have a row even where the run lacks them
_TOLD = ("pu", "trend", "proto")
#: heads that look at stamps
DEEP = ("mil", "proto")
#: component -> why it is not measured, and the setting that has it measured; name of the road of its run
OTHERS = {
    "joint loss of mil": "others.joint_loss: a run with weights of mil.joint",
    "synthetic systems": "others.synthetic: a run whose heads learn from them (mil.synthetic, proto.synthetic)",
    **{
        f"pretraining {method}": f"others.pretraining.{method}: a run whose heads start from an encoder trained by it"
        for method in ("moco", "fast_moco", "mae", "simsiam", "lensiam", "clsp")
    },
}
_CLASSIC = DECLARATION.name
#: heads that hold nothing of what is taken away from them
_REFITTED = ("colour", _CLASSIC)


@dataclass(frozen=True)
class Road:
    """The training systems as one treatment of their images leaves them.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tandemlens.learn.sample.training_table`.
    scores : pandas.DataFrame
        (n, H), in the same order, of the heads that are fused, but classic.
    """

    table: pd.DataFrame
    scores: pd.DataFrame


@dataclass(frozen=True)
class Variant:
    """A way to rank the systems.

    Parameters
    ----------
    heads : tuple of str
        That are fused.
    fuser : str
        Of `tandemlens.learn.fusers.FUSERS`.
    left_out : tuple of str
        Patterns of the features that the head classic does not see.
    constraints : bool
        Whether its trees are monotone.
    learner : str
        trees or logistic; the one that the head chooses if empty.
    ensemble : bool
        Whether all boosters of its trees take part, or the first alone.
    road : str
        That features and scores are from.
    """

    heads: tuple[str, ...]
    fuser: str
    left_out: tuple[str, ...] = ()
    constraints: bool = True
    learner: str = ""
    ensemble: bool = True
    road: str = ""

    def without(self, head: str) -> "Variant":
        """The same without a head."""
        return replace(self, heads=tuple(name for name in self.heads if name != head))


class Bench:
    """Fits variants and scores all systems by them; what two variants share is fitted once.

    Parameters
    ----------
    roads : dict of Road
    kinds : dict of str
        Kind of the score of every head that is fused, but classic.
    settings : dict
        As for `ablation_table`.
    """

    def __init__(self, roads: dict[str, Road], kinds: dict[str, str], settings: dict[str, Any]) -> None:
        self.roads, self.kinds, self.settings = roads, {**kinds, _CLASSIC: DECLARATION.kind}, settings
        main = roads[""]
        self.role, self.groups = main.table["role"].to_numpy(), main.table["group"].to_numpy()
        self.labels = main.table["label"].to_numpy(bool)
        spoken = main.scores[self.role == "fuse"].notna().any()
        #: heads that can be fused
        self.heads = tuple(name for name in self.kinds if name == _CLASSIC or spoken[name])
        self._classic, self._fused = cache(self._fit_classic), cache(self._fuse)

    def pair(self, one: Variant, other: Variant) -> tuple[np.ndarray, np.ndarray, str]:
        """Fused scores by two variants, (n,) ndarray each, and what was fitted, in words.

        Raises
        ------
        InputError
            If a variant cannot be had.
        """
        scores = self._fused(one), self._fused(other)
        learners = [self._head(variant).learner for variant in (one, other) if _CLASSIC in variant.heads]
        told = learners[0] if len(set(learners)) == 1 else " with and ".join(learners) + " without"
        return *scores, f"heads {', '.join(one.heads)}; classic by {told}"

    def other_run(self, reference: Variant, road: str) -> tuple[np.ndarray, np.ndarray, str]:
        """Fused scores with the heads that look at stamps as another run has trained them, and as this one has."""
        if not set(DEEP) & set(reference.heads):
            raise InputError(f"no head of the run looks at stamps and has scores (setting heads: {', '.join(DEEP)})")
        return self.pair(replace(reference, road=road), reference)

    def calibration(self, reference: Variant, method: str) -> tuple[np.ndarray, np.ndarray, str]:
        """Probabilities by the calibrator of the run, and by the evidence as it is, as `pair`."""
        kind = reference.fuser if FUSERS[reference.fuser].view == "evidence" else "stack"
        fused, rows = self._fused(replace(reference, fuser=kind)), self.role == "calibrate"
        calibrator = fit_calibrator(fused[rows], self.labels[rows], method)
        # evidence is the log odds at equal numbers of tandems and others
        plain = shift_prior(expit(fused), 0.5, self.labels[rows].mean())
        note = f"{calibrator.method} against the evidence of fuser {kind} as it is; less is better"
        return calibrator.probability(fused), plain, note

    def _head(self, variant: Variant) -> "Classic":
        head = self._classic(variant.left_out, variant.constraints, variant.road)
        trees = head.trees if variant.ensemble else Trees(head.trees.boosters[:1])
        return replace(head, learner=variant.learner or head.learner, trees=trees)

    def _fit_classic(self, left_out: tuple[str, ...], constraints: bool, road: str) -> "Classic":
        table = self._road(road).table
        names = feature_names(self.settings["bands"])
        names = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in left_out)]
        facts = {name: self.settings[name] for name in ("bands", "seed", "threads")}
        cfg = {**self.settings["classic"], **facts, "constraints": constraints}
        return fit_classic(table, self.labels, self.groups, self.role, cfg, names=names)

    def _road(self, name: str) -> Road:
        if name in OTHERS and name not in self.roads:
            raise InputError(
                f"there are no scores with it; give the results folder of such a run as ablation.{OTHERS[name]}"
            )
        if name not in self.roads:
            raise InputError(_MISSING[name])
        return self.roads[name]

    def _fuse(self, variant: Variant) -> np.ndarray:
        silent = [name for name in variant.heads if name not in self.heads]
        if silent:
            why = "its fit says why" if silent[0] in self.kinds else "the run is without it (setting heads)"
            raise InputError(f"head {silent[0]} has no score for any system of the role fuse: {why}")
        road, scores = self._road(variant.road), {}
        for name in variant.heads:
            if name == _CLASSIC:
                score = self._head(variant).score(road.table)
                scores[name] = np.where(road.table["status"] == OK, score, np.nan)
            else:
                scores[name] = road.scores[name].to_numpy()
        scores, rows = pd.DataFrame(scores), self.role == "fuse"
        kinds = {name: self.kinds[name] for name in variant.heads}
        rng = np.random.default_rng(self.settings["seed"])
        fuser = fit_fuser(variant.fuser, scores[rows], self.labels[rows], self.groups[rows], rng, kinds)
        return fuser.fuse(scores)


def ablation_table(
    roads: dict[str, Road],
    kinds: dict[str, str],
    fusion: "Fusion | None",
    settings: dict[str, Any],
    expected: pd.Series,
) -> pd.DataFrame:
    """What each component adds, in every figure of merit.

    Parameters
    ----------
    roads : dict of Road
        That of the run, named by the empty string, and `UNMATCHED` and those of `OTHERS` where there are any; of the
        same systems.
    kinds : dict of str
        Kind of the score of every head that is fused, but classic (`tandemlens.learn.evidence.SCORE_KINDS`).
    fusion : tandemlens.learn.fuse.Fusion or None
        Its kind of fuser is that of the reference; equal weights where the heads could not be fused.
    settings : dict
        ``classic``, the section of the settings with no trials; ``calibration``, as ``fusion.calibration``;
        ``bands``, ``seed`` and ``threads``.
    expected : pandas.Series of str
        What was expected of a component, by its name.

    Returns
    -------
    pandas.DataFrame
        Columns `ABLATION`; NaN, and the reason in the note, where a component cannot be measured.
    """
    bench = Bench(roads, kinds, settings)
    test = roads[""].table[bench.role == "test"]
    refusal = ranking_refusal(test, roads[""].scores[bench.role == "test"])
    n_pos = int(test["label"].sum())
    rows = []
    for component, (make, metrics) in _components(bench, fusion.fuser.kind if fusion else BASELINE).items():
        facts = {"component": component, "expected": expected.get(component, "")}
        facts |= {"n_pos": n_pos, "n_neg": len(test) - n_pos, "n_groups": test["group"].nunique()}
        rows += [{**facts, **row} for row in _measured(bench, make, metrics, refusal)]
    return pd.DataFrame(rows, columns=[c.name for c in ABLATION])


def _components(bench: Bench, kind: str) -> dict[str, tuple[Callable[..., Any], tuple[str, str]]]:
    """How to score the systems with and without every component, and in what to compare."""
    reference = Variant(bench.heads, kind, constraints=bench.settings["classic"]["constraints"])
    refitted = replace(reference, heads=tuple(name for name in bench.heads if name in _REFITTED))
    trees = replace(reference, learner="trees")
    pairs = {
        "colour evidence": (refitted, replace(refitted.without("colour"), left_out=COLOUR)),
        "PSF matching": (refitted, replace(refitted, road=UNMATCHED)),
        "light behind": (refitted, replace(refitted, left_out=BEHIND)),
        "second cluster": (refitted, replace(refitted, left_out=SECOND)),
        "second red sequence": (refitted, replace(refitted, left_out=SEQUENCE)),
        "monotone constraints": (replace(trees, constraints=True), replace(trees, constraints=False)),
        "ensemble of boosters": (trees, replace(trees, ensemble=False)),
        "boosted trees": (trees, replace(reference, learner="logistic")),
    }
    for head in dict.fromkeys((*_TOLD, *bench.kinds)):
        if head not in _REFITTED:
            apart = reference.without(head)
            pairs[f"head {head}"] = (replace(apart, heads=(*apart.heads, head)), apart)
    pairs["fusion of heads"] = (reference, replace(reference, heads=(_CLASSIC,)))
    for fuser in (name for name in FUSERS if name != BASELINE):
        pairs[f"fusion {fuser}"] = (replace(reference, fuser=fuser), replace(reference, fuser=BASELINE))
    made = {name: (partial(bench.pair, *pair), METRICS) for name, pair in pairs.items()}
    made |= {name: (partial(bench.other_run, reference, name), METRICS) for name in OTHERS}
    calibrated = partial(bench.calibration, reference, bench.settings["calibration"])
    return {**made, "calibration": (calibrated, CALIBRATION)}


def _measured(bench: Bench, make: Callable[..., Any], metrics: tuple[str, str], refusal: str) -> list[dict[str, Any]]:
    """Comparison of one component in every figure of merit."""
    try:
        if refusal:
            raise InputError(refusal)
        one, other, note = make()
    except InputError as error:
        log.warning("the ablation leaves a component out: %s", error)
        empty = dict.fromkeys(("with", "without", "difference", "low", "high", "p_value"), np.nan)
        return [{"metric": metric, **empty, "note": str(error)} for metric in metrics]
    rows, test = [], bench.role == "test"
    for metric in metrics:
        # all rows share the draws
        rng = np.random.default_rng(bench.settings["seed"])
        pair = paired_difference(one[test], other[test], bench.labels[test], metric, rng, bench.groups[test])
        rows.append({**pair, "with": pair.pop("a"), "without": pair.pop("b"), "note": note})
    return rows
