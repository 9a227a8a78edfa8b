"""An observer who is told the truth, on the rotations of `benchmarks/rotations.py`: what the best head could reach.

    PYTHONPATH=workflow/scripts:benchmarks python benchmarks/ideal_observer.py results-campaign mock ideal.csv

The observer is told redshift and richness of both clusters, and how far from the centre of the lens the four innermost
members of the second cluster truly lie, to three depths, in units of the Einstein radius that a lens of that richness
has on average. Boosted trees learn from the same systems as the heads which second clusters are lensed. All other
classes are granted: they are below every system with a second cluster. The observer is told neither the shape of the
lens nor its true Einstein radius; with --radius the latter too. `benchmarks/rotations.py --ideal` takes the scores in.
"""

from pathlib import Path

import numpy as np
import yaml
from rotations import UNTUNED, arguments, rotations, sample, sample_table

from tandemlens.base.units import njy_per_unit
from tandemlens.features.mean_lens import expected_radius
from tandemlens.learn.trees import Trees

#: magnitudes to which members are seen, in the i band
DEPTHS = (22.5, 24.0, 25.0)
MEMBERS = 4
#: classes with a second cluster
TOLD = ("tandem", "projected")
#: fits of other seeds and inner folds whose margins are averaged
REPEATS = 3
BOOSTERS = {name: UNTUNED[name] for name in ("max_depth", "learning_rate", "min_child_weight", "reg_lambda")}


def truth_told(systems, members, radius=False):
    """What the observer knows of every system with a second cluster.

    Parameters
    ----------
    systems : (n,) pandas.DataFrame
        target_id, z, richness, z_source, richness_behind and theta_e (arcsec).
    members : pandas.DataFrame
        Members of second clusters: target_id, unlensed place ``east`` and ``north`` (arcsec from the lens), ``flux_i``
        (nJy, magnification included).
    radius : bool, optional
        Whether the true Einstein radius is told too, and is the unit of the places.

    Returns
    -------
    (n, k) pandas.DataFrame
        Natural logarithm of the places; NaN where there are fewer members.
    """
    told = systems[["z", "richness", "z_source", "richness_behind"]].astype(float).reset_index(drop=True)
    einstein = np.array([expected_radius(n, z, zs) for n, z, zs in told[["richness", "z", "z_source"]].to_numpy()])
    if radius:
        einstein = told["theta_e"] = systems["theta_e"].to_numpy(float)
    members = members.assign(place=np.hypot(members["east"], members["north"])).sort_values("place")
    for depth in DEPTHS:
        # what has one unit of flux at this zero point has this magnitude
        seen = members[members["flux_i"] > njy_per_unit(depth)]
        order = seen.groupby("target_id").cumcount()
        nearest = seen.assign(order=order).pivot(index="target_id", columns="order", values="place")
        nearest = nearest.reindex(index=systems["target_id"], columns=range(MEMBERS)).to_numpy(float)
        for k in range(MEMBERS):
            # a hundredth of the radius is as good as the centre
            told[f"place{k}_{depth}"] = np.log(nearest[:, k] / einstein + 0.01)
    return told


def observed(frame, told, group, roles, seed):
    """Log odds of every system from the rotation in which it is the test; other classes are below all of them."""
    rows = np.flatnonzero(frame["class"].isin(TOLD))
    labels, score = frame["label"].to_numpy(bool)[rows], np.full(len(frame), np.nan)
    for k in range(roles.shape[1]):
        test = roles[rows, k] == "test"
        for repeat in range(REPEATS):
            cfg = {**UNTUNED, "seed": seed + 100 * repeat + k, "threads": 1}
            trees = Trees.fit(told[~test], labels[~test].astype(int), group[rows][~test], BOOSTERS, cfg)
            score[rows[test]] = np.nan_to_num(score[rows[test]]) + trees.score(told[test]) / REPEATS
    score[np.isnan(score)] = np.nanmin(score) - 1
    return score


def main():
    """Tell, rotate and write."""
    parser = arguments(__doc__)
    parser.add_argument("--radius", action="store_true")
    given = parser.parse_args()
    seed = yaml.safe_load(Path(given.config).read_text())["seed"]
    frame = sample(given.results, given.survey)
    group, roles = rotations(frame, given.folds, seed)
    drawn = sample_table(given.results, given.survey, "systems").set_index("target_id")
    told = frame.assign(**{name: drawn[name].reindex(frame["target_id"]).to_numpy() for name in ("z", "richness")})
    members = sample_table(given.results, given.survey, "truth").query("kind == 'behind'")
    told = truth_told(told[frame["class"].isin(TOLD)], members, given.radius)
    scores = frame[["target_id"]].assign(score=observed(frame, told, group, roles, seed))
    scores.to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
