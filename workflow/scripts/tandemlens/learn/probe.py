"""How much the features of an encoder know that it was never told: probes on frozen features.

A system is described by the features of the stamp of its centre and the mean of those of its segments. Probes are
fitted to systems of one role and judged on those of another.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tandemlens.learn.stamps import open_stamps
from tandemlens.learn.views import plain_view

if TYPE_CHECKING:
    from tandemlens.learn.encoders import Encoder

#: fewest systems of a class, and with an Einstein radius, in either role
_LEAST = 5
#: inverse strength of the logistic regression: there are as many features as systems
_STRENGTH = 1e-3
#: folds of groups, and strengths of the ridge
_FOLDS, _RIDGES = 5, np.logspace(0, 6, 13)


@torch.no_grad()
def system_features(
    encoder: "Encoder", paths: Sequence[str], wanted: set[str], batch: int, device: torch.device
) -> tuple[list[str], np.ndarray]:
    """Features of systems, read a few systems at a time.

    Parameters
    ----------
    encoder : tandemlens.learn.encoders.Encoder
        On the device.
    paths : list of str
        stamps.h5 of the shards.
    wanted : set of str
    batch : int
        Stamps of one pass, about.
    device : torch.device

    Returns
    -------
    target_ids : list of str
        The wanted systems that have stamps.
    features : (n, 2 width) float64 ndarray
        Of the centre, and the mean of the segments; 0 where there are none.
    """
    training = encoder.training
    encoder.eval()
    target_ids, features = [], []
    for path in paths:
        with open_stamps(path) as file:
            rows = [k for k, name in enumerate(file.target_ids) if name in wanted and file.start[k + 1] > file.start[k]]
            for some in _portions(rows, np.diff(file.start), batch):
                systems = [file.system(k) for k in some]
                arrays = [np.concatenate([getattr(s, name) for s in systems]) for name in ("flux", "sigma", "mask")]
                view = plain_view(*(torch.from_numpy(array).to(device) for array in arrays))
                found = np.split(encoder(view.x).double().cpu().numpy(), np.cumsum([len(s) for s in systems])[:-1])
                features += [_of_system(f, s.label) for f, s in zip(found, systems, strict=True)]
                target_ids += [file.target_ids[k] for k in some]
    encoder.train(training)
    return target_ids, np.array(features).reshape(len(target_ids), 2 * encoder.width)


def probe(
    features: np.ndarray,
    labels: np.ndarray,
    radii: np.ndarray,
    groups: np.ndarray,
    fit: np.ndarray,
    held: np.ndarray,
    neighbours: int = 10,
) -> dict[str, float | None]:
    """What can be told from features.

    Parameters
    ----------
    features : (n, d) ndarray
    labels : (n,) bool ndarray
        Tandem or not.
    radii : (n,) ndarray, arcsec
        Einstein radius; NaN where there is none.
    groups : (n,) ndarray
        Of the sky: systems of one canvas share their lens.
    fit, held : (n,) bool ndarray
        Systems to fit to, and to judge on.
    neighbours : int

    Returns
    -------
    dict of float
        ``knn_accuracy`` and ``knn_auroc`` of the nearest neighbours by cosine, ``linear_auroc`` of logistic regression,
        ``radius_r2`` of ridge regression of the logarithm of the Einstein radius; None where there are too few systems.
    """
    found: dict[str, float | None] = dict.fromkeys(("knn_accuracy", "knn_auroc", "linear_auroc", "radius_r2"))
    if min(np.bincount(labels[rows], minlength=2).min() for rows in (fit, held)) >= _LEAST:
        near = KNeighborsClassifier(min(neighbours, int(fit.sum())), metric="cosine").fit(features[fit], labels[fit])
        share = near.predict_proba(features[held])[:, 1]
        found["knn_accuracy"] = float(np.mean((share > 0.5) == labels[held]))
        found["knn_auroc"] = float(roc_auc_score(labels[held], share))
        line = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=1000))
        line.fit(features[fit], labels[fit])
        found["linear_auroc"] = float(roc_auc_score(labels[held], line.decision_function(features[held])))
    found["radius_r2"] = radius_r2(features, radii, groups, fit, held)
    return found


def radius_r2(
    features: np.ndarray, radii: np.ndarray, groups: np.ndarray, fit: np.ndarray, held: np.ndarray
) -> float | None:
    """R2 of the logarithm of the Einstein radius by ridge regression.

    Its strength is chosen by folds of groups: where systems of one lens lie on both sides, the radius is known by what
    else these share, the weakest ridge is taken, and R2 on other lenses falls below zero.

    Parameters
    ----------
    features, radii, groups, fit, held
        As for `probe`.

    Returns
    -------
    float or None
        None where fewer than five systems, or two groups, have a radius.
    """
    known = np.isfinite(radii) & (np.nan_to_num(radii) > 0)
    learnt, judged = known & fit, known & held
    n_folds = min(_FOLDS, len(np.unique(groups[learnt])))
    if min(learnt.sum(), judged.sum()) < _LEAST or n_folds < 2:
        return None
    folds = list(GroupKFold(n_folds).split(features[learnt], groups=groups[learnt]))
    ridge = make_pipeline(StandardScaler(), RidgeCV(_RIDGES, cv=folds)).fit(features[learnt], np.log(radii[learnt]))
    return float(r2_score(np.log(radii[judged]), ridge.predict(features[judged])))


def _of_system(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    centre = labels == 0
    parts = [f.mean(0) if len(f) else np.zeros(features.shape[1]) for f in (features[centre], features[~centre])]
    return np.concatenate(parts)


def _portions(rows: list[int], counts: np.ndarray, most: int) -> list[list[int]]:
    """Divide rows so that the counts of each portion sum to about `most`."""
    portions: list[list[int]] = [[]]
    n = 0
    for row in rows:
        if n and n + counts[row] > most:
            portions, n = [*portions, []], 0
        portions[-1].append(row)
        n += counts[row]
    return [some for some in portions if some]
