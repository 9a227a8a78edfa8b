"""Synthetic stamps against held-out ones: noise, colours, profiles, copies, a classifier."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import ks_2samp
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors

from tandemlens.learn.sky_noise import blank_noise

if TYPE_CHECKING:
    from tandemlens.learn.stamps import Stamps

#: largest difference of noise, and least p-value of what is compared
NOISE, LEAST_P = 0.05, 0.01
#: rings of a profile
_RINGS = 6
#: principal components that stamps are compared in
_COMPONENTS = 32


def band_ratios(flux: np.ndarray, sigma: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Colours of what is seen at the middle of stamps, as differences of asinh fluxes of the middle 5 x 5 pixels.

    Parameters
    ----------
    flux : (n, band, s, s) ndarray
        Asinh flux.
    sigma : (n, band, s, s) ndarray
        Not looked at.
    mask : (n, band, s, s) bool ndarray
        True where pixels are valid.

    Returns
    -------
    (n, band - 1) float64 ndarray
    """
    side = flux.shape[-1]
    low = side // 2 - 2
    middle = (slice(None), slice(None), slice(low, low + 5), slice(low, low + 5))
    seen = mask[middle]
    total = np.where(seen, np.sinh(flux[middle].astype(np.float64)), 0).sum((2, 3)) / np.maximum(seen.sum((2, 3)), 1)
    return np.diff(np.arcsinh(total), axis=1)


def profiles(flux: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean asinh flux of all bands in rings around the middle of stamps.

    Parameters
    ----------
    flux : (n, band, s, s) ndarray
    mask : (n, band, s, s) bool ndarray
        True where pixels are valid.

    Returns
    -------
    (n, rings) float64 ndarray
    """
    side = flux.shape[-1]
    y, x = np.indices((side, side)) - (side - 1) / 2
    ring = np.minimum((np.hypot(x, y) / (side / 2) * _RINGS).astype(int), _RINGS)
    found = []
    for k in range(_RINGS):
        seen = mask & (ring == k)
        found.append(np.where(seen, flux, 0).sum((1, 2, 3), dtype=np.float64) / np.maximum(seen.sum((1, 2, 3)), 1))
    return np.transpose(found)


def told_apart(real: np.ndarray, synthetic: np.ndarray, seed: int) -> float:
    """Area under the ROC curve of trees that tell synthetic stamps from real ones, by cross-validation; 0.5 is best.

    Parameters
    ----------
    real, synthetic : (n, band, s, s) ndarray
    seed : int

    Returns
    -------
    float
    """
    both = np.concatenate([real, synthetic]).astype(np.float32)
    label = np.repeat([0, 1], [len(real), len(synthetic)])
    n_components = min(_COMPONENTS, len(both) // 4)
    features = PCA(n_components, random_state=seed).fit_transform(both.reshape(len(both), -1))
    # spread of the pixels in each band at the finest scale, which components do not see
    fine = np.diff(both, axis=3).std((2, 3))
    trees = HistGradientBoostingClassifier(max_iter=60, max_depth=3, random_state=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    features = np.concatenate([features, fine], axis=1)
    odds = cross_val_predict(trees, features, label, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(label, odds))


def copied(train: np.ndarray, held_out: np.ndarray, synthetic: np.ndarray) -> tuple[float, float]:
    """How near synthetic stamps come to those of the training, in units of how near held-out ones do.

    Parameters
    ----------
    train, held_out, synthetic : (n, band, s, s) ndarray

    Returns
    -------
    nearest : float
        Smallest distance of a synthetic stamp from the training over the smallest one of a held-out stamp; well below
        1 where stamps are reproduced.
    median : float
        The same of the median distances.
    """
    flat = [stamps.astype(np.float32).reshape(len(stamps), -1) for stamps in (train, held_out, synthetic)]
    near = NearestNeighbors(n_neighbors=1).fit(flat[0])
    held, made = (near.kneighbors(some)[0][:, 0] for some in flat[1:])
    return float(made.min() / held.min()), float(np.median(made) / np.median(held))


def compare(
    real: "Stamps", synthetic: "Stamps", train: "Stamps", bands: Sequence[str], pool: str, seed: int
) -> list[dict[str, Any]]:
    """All tests of the stamps of a pool.

    Parameters
    ----------
    real, synthetic, train : tandemlens.learn.stamps.Stamps
        Held-out stamps; synthetic ones; those that the generator was trained on.
    bands : sequence of str
    pool : str
    seed : int

    Returns
    -------
    list of dict
        Rows of `tandemlens.base.columns.synthetic.CHECKS`.
    """
    rows, n = [], len(synthetic)

    def add(test: str, band: str, value: float, low: float, high: float, note: str) -> None:
        facts = {"value": float(value), "low": low, "high": high, "n": n, "note": note}
        rows.append({"pool": pool, "test": test, "band": band, **facts})

    parts = [(stamps.flux, stamps.sigma, stamps.mask) for stamps in (real, synthetic)]
    for kind, chosen in (("segments", real.label != 0), ("wide", real.label == 0)):
        if not chosen.any():
            continue
        noises = zip(*(blank_noise(*(array[chosen] for array in part))[:2] for part in parts), strict=True)
        for name, (own, other) in zip(("noise", "differences of neighbours"), noises, strict=True):
            for band, ratio in zip(bands, other / own, strict=True):
                note = "of blank pixels, over that of held-out stamps"
                add(f"{name}, {kind}", band, ratio, 1 - NOISE, 1 + NOISE, note)
    for k, (own, other) in enumerate(zip(*(band_ratios(*part).T for part in parts), strict=True)):
        add("band ratio", f"{bands[k]}-{bands[k + 1]}", ks_2samp(own, other).pvalue, LEAST_P, np.nan, "KS p-value")
    for k, (own, other) in enumerate(zip(*(profiles(p[0], p[2]).T for p in parts), strict=True)):
        add("profile", f"ring {k + 1}", ks_2samp(own, other).pvalue, LEAST_P, np.nan, "KS p-value")
    add("told apart", "", told_apart(real.flux, synthetic.flux, seed), np.nan, np.nan, "AUROC of trees; 0.5 is best")
    nearest, median = copied(train.flux, real.flux, synthetic.flux)
    add("nearest copy", "", nearest, 0.5, np.nan, "smallest distance from the training over that of held-out stamps")
    add("median copy", "", median, np.nan, np.nan, "the same of the medians")
    return rows
