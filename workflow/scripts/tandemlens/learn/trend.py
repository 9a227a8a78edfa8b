"""Trends of predictions over training epochs (HolisticPU, Wang et al. 2023), and whether to use them.

A network that learns labelled positives against unlabelled "negatives" lets go of true negatives steadily and of hidden
positives by fits and starts. The trend exists only while predictions still drift; in a check it was anything from
better than the mean prediction to far worse than a coin (areas under the ROC curve of .97 to .08 over five learning
rates and widths). So it is an ablation: `trend_or_mean` and `hawkes_or_mean` keep it only if it beats the plain mean on
labelled positives that were held out, and report both.

Every trajectory is P(positive). The authors' code counts the positive class as class 0: its column of a softmax is one
minus ours and turns every trend round.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tandemlens.base.errors import InputError
from tandemlens.learn.guard import gain
from tandemlens.learn.nnpu import as_tensor, margins, small_network

#: fewest events from which three parameters are fitted
_LEAST_EVENTS = 4
#: a branching ratio of 1 never ends
_MOST_EXCITED = 0.98
#: slowest and fastest decay that a fit may take, per epoch
_DECAY = (0.05, 20.0)


@dataclass(frozen=True)
class PhaseSettings:
    """Warm-up training of HolisticPU, phase 1 (sizes from the authors' code; the smoothing is from memory).

    Parameters
    ----------
    widths : tuple of int
    epochs, steps : int
        Epochs, and steps of each.
    batch : int
        Labelled per step, and as many unlabelled.
    learning_rate, momentum, weight_decay : float
        Of SGD.
    smoothing : float
        Label smoothing of the positives.
    ema : float or None
        Decay of the running mean of the weights that predicts; None predicts with the weights themselves.
    """

    widths: tuple[int, ...] = (64,)
    epochs: int = 15
    steps: int = 60
    batch: int = 64
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    smoothing: float = 0.1
    ema: float | None = None


def train_snapshots(
    x_labelled: np.ndarray,
    x_unlabelled: np.ndarray,
    settings: PhaseSettings,
    rng: np.random.Generator,
    device: str = "cpu",
) -> list[torch.nn.Module]:
    """Train a network that takes the unlabelled for negatives, and keep it as it was after every epoch.

    Each step draws as many labelled as unlabelled with replacement, so no prior enters.

    Parameters
    ----------
    x_labelled, x_unlabelled : (n, k), (m, k) ndarray
        Standardised features.
    settings : PhaseSettings
    rng : numpy.random.Generator
    device : str

    Returns
    -------
    list of torch.nn.Module
        One an epoch.
    """
    labelled, unlabelled = as_tensor(x_labelled, device), as_tensor(x_unlabelled, device)
    network = small_network(labelled.shape[1], settings.widths, rng).to(device)
    averaged = None
    if settings.ema is not None:
        averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
    optimiser = torch.optim.SGD(
        network.parameters(), settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
    )
    # two-class cross-entropy with label smoothing rho is binary cross-entropy towards 1 - rho/2
    target = torch.zeros(2 * settings.batch, device=device)
    target[: settings.batch] = 1 - settings.smoothing / 2
    snapshots = []
    for _ in range(settings.epochs):
        for _ in range(settings.steps):
            rows = labelled[rng.integers(len(labelled), size=settings.batch)]
            others = unlabelled[rng.integers(len(unlabelled), size=settings.batch)]
            margin = network(torch.cat([rows, others])).squeeze(-1)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(margin, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if averaged:
                averaged.update_parameters(network)
        snapshots.append(deepcopy(averaged.module if averaged else network))
    return snapshots


def trajectories(snapshots: list[torch.nn.Module], x: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Predictions of the network after every epoch, for any rows.

    Parameters
    ----------
    snapshots : list of torch.nn.Module
        From `train_snapshots`.
    x : (n, k) ndarray
        Features, standardised as those of the training.
    device : str

    Returns
    -------
    (n, epochs) ndarray
        P(positive).
    """
    return np.array([expit(margins(network, x, device)) for network in snapshots]).T


def trend_score(trajectory: np.ndarray) -> np.ndarray:
    """Mean over epochs of ln(1 + D + D^2/2) with D = p(e) - p(e-1) (as coded by the authors; the paper's may differ).

    Parameters
    ----------
    trajectory : (n, epochs) ndarray
        P(positive).

    Returns
    -------
    (n,) ndarray
        Larger is more positive; 0 for a constant.
    """
    step = np.diff(_trajectory(trajectory), axis=1)
    return np.log1p(step + step**2 / 2).mean(axis=1)


def two_class_break(values: np.ndarray) -> float:
    """Break that splits values into two classes of the smallest squared scatter (Fisher-Jenks), by trying every split.

    Own, because for two classes one sort and two running sums are exact, and jenkspy handles k classes in n^2 k.

    Parameters
    ----------
    values : (n,) ndarray
        At least two.

    Returns
    -------
    float
        Largest value of the lower class; those above it are the pseudo-positives.
    """
    ordered = np.sort(np.asarray(values, float))
    n = len(ordered)
    if n < 2 or not np.isfinite(ordered).all():
        raise InputError(f"{n} values, of which some may not be finite; a break needs two or more finite values")
    lower = np.arange(1, n)
    centred = ordered - ordered.mean()
    total = np.cumsum(centred)[:-1]
    # scatter within classes is smallest where scatter between them, t^2 (1/k + 1/(n-k)) for a centred sum t, is largest
    between = total**2 * (1 / lower + 1 / (n - lower))
    return float(ordered[np.argmax(between)])


@dataclass(frozen=True)
class Guarded:
    """A score that had to beat the plain mean.

    Parameters
    ----------
    score : (m,) ndarray
        Of the unlabelled: the candidate if kept, else the mean prediction.
    kept : bool
    auc_candidate, auc_mean, error : float
        As in `tandemlens.learn.guard.Gain`, of held-out labelled positives against unlabelled.
    """

    score: np.ndarray
    kept: bool
    auc_candidate: float
    auc_mean: float
    error: float


def trend_or_mean(held_out: np.ndarray, unlabelled: np.ndarray) -> Guarded:
    """Trend score of the unlabelled if it beats their mean prediction, else that.

    Parameters
    ----------
    held_out : (n, epochs) ndarray
        Trajectories of labelled positives that the network was not trained on.
    unlabelled : (m, epochs) ndarray

    Returns
    -------
    Guarded
    """
    return _guard(trend_score(held_out), trend_score(unlabelled), held_out, unlabelled)


def hawkes_or_mean(
    held_out: np.ndarray, unlabelled: np.ndarray, least_jump: float, rng: np.random.Generator
) -> Guarded:
    """Score from `hawkes_features` if it beats the mean prediction, else that.

    The features become one score by logistic regression of held-out labelled against unlabelled, out of fold.

    Parameters
    ----------
    held_out, unlabelled
        As in `trend_or_mean`; ten of the former at least.
    least_jump : float
        As in `jump_times`.
    rng : numpy.random.Generator

    Returns
    -------
    Guarded
    """
    if len(held_out) < 10:
        raise InputError(f"{len(held_out)} held-out labelled positives; the Hawkes features need 10 or more")
    features = np.concatenate([hawkes_features(held_out, least_jump), hawkes_features(unlabelled, least_jump)])
    labelled = np.arange(len(features)) < len(held_out)
    splitter = StratifiedKFold(5, shuffle=True, random_state=int(rng.integers(2**31)))
    score = cross_val_predict(_hawkes_classifier(), features, labelled, cv=splitter, method="decision_function")
    return _guard(score[labelled], score[~labelled], held_out, unlabelled)


def fit_hawkes_score(held_out: np.ndarray, unlabelled: np.ndarray, least_jump: float) -> np.ndarray:
    """The classifier of `hawkes_or_mean` fitted to all its rows, to score others.

    Parameters
    ----------
    held_out, unlabelled, least_jump
        As in `hawkes_or_mean`.

    Returns
    -------
    weights : (4,) ndarray
        The score is ``hawkes_features(...) @ weights`` up to a constant.
    """
    features = np.concatenate([hawkes_features(path, least_jump) for path in (held_out, unlabelled)])
    scaler, line = _hawkes_classifier().fit(features, np.arange(len(features)) < len(held_out))
    return line.coef_[0] / scaler.scale_


def jump_times(trajectory: np.ndarray, least_jump: float) -> np.ndarray:
    """Events of a trajectory: the epochs e >= 1 at which p rises by more than `least_jump` over epoch e - 1.

    Parameters
    ----------
    trajectory : (n, epochs) ndarray
        P(positive).
    least_jump : float

    Returns
    -------
    (n, epochs - 1) ndarray of bool
        Column e - 1 is the event at time e, in epochs; they are watched from 0 to epochs - 1. Times are whole epochs,
        so a decay faster than a few per epoch means no memory.
    """
    return np.diff(_trajectory(trajectory), axis=1) > least_jump


def hawkes_features(trajectory: np.ndarray, least_jump: float) -> np.ndarray:
    """Hawkes process of the upward jumps of every trajectory.

    Parameters
    ----------
    trajectory : (n, epochs) ndarray
    least_jump : float

    Returns
    -------
    (n, 4) ndarray
        Baseline (jumps per epoch), decay (per epoch), self-excitation (jumps caused by a jump) and clustering (scatter
        over mean of the waiting times: 0 if regular, 1 if random, more if in bursts). With fewer than four jumps the
        rate of a process without memory: decay 0, self-excitation 0, clustering 1.
    """
    # most trajectories share their pattern of jumps with others, and each pattern is fitted once
    patterns, which = np.unique(jump_times(trajectory, least_jump), axis=0, return_inverse=True)
    return np.array([_features(np.flatnonzero(p) + 1.0, float(len(p))) for p in patterns])[which.ravel()]


def fit_hawkes(times: np.ndarray, duration: float) -> tuple[float, float, float]:
    """Maximum-likelihood Hawkes process with exponential kernel.

    Parameters
    ----------
    times : (k,) ndarray
        Ascending, in (0, duration].
    duration : float

    Returns
    -------
    baseline, excitation, decay : float
        mu, n and b of the intensity mu + sum over earlier events of n b exp(-b (t - t_i)).
    """
    rate = len(times) / duration
    bounds = [(1e-3 * rate, 2 * rate), (0.0, _MOST_EXCITED), _DECAY]
    fits = [
        minimize(
            lambda p: tuple(-np.asarray(part) for part in hawkes_log_likelihood(times, duration, *p)),
            (0.7 * rate, 0.3, start),
            jac=True,
            bounds=bounds,
        )
        for start in (0.5, 3.0)
    ]
    baseline, excitation, decay = min(fits, key=lambda fit: fit.fun).x
    return float(baseline), float(excitation), float(decay)


def hawkes_log_likelihood(
    times: np.ndarray, duration: float, baseline: float, excitation: float, decay: float
) -> tuple[float, np.ndarray]:
    """Log-likelihood of event times: sum of ln intensity minus its integral (Ozaki 1979), and its gradient.

    Parameters
    ----------
    times, duration
        As in `fit_hawkes`.
    baseline, excitation, decay : float

    Returns
    -------
    value : float
    gradient : (3,) ndarray
        With respect to baseline, excitation and decay.
    """
    gap = times[:, None] - times
    kernel = np.where(gap > 0, np.exp(-decay * np.maximum(gap, 0)), 0)
    excited, lagged = kernel.sum(axis=1), (gap * kernel).sum(axis=1)
    intensity = baseline + excitation * decay * excited
    left = duration - times
    gone = np.exp(-decay * left)
    value = np.log(intensity).sum() - baseline * duration - excitation * (1 - gone).sum()
    gradient = [
        (1 / intensity).sum() - duration,
        (decay * excited / intensity).sum() - (1 - gone).sum(),
        (excitation * (excited - decay * lagged) / intensity).sum() - excitation * (left * gone).sum(),
    ]
    return float(value), np.array(gradient)


def _hawkes_classifier() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression())


def _features(times: np.ndarray, duration: float) -> tuple[float, float, float, float]:
    if len(times) < _LEAST_EVENTS:
        return len(times) / duration, 0.0, 0.0, 1.0
    baseline, excitation, decay = fit_hawkes(times, duration)
    waits = np.diff(times)
    return baseline, decay, excitation, waits.std() / waits.mean()


def _guard(candidate_p: np.ndarray, candidate_u: np.ndarray, held_out: np.ndarray, unlabelled: np.ndarray) -> "Guarded":
    plain = _trajectory(held_out).mean(axis=1), _trajectory(unlabelled).mean(axis=1)
    found = gain((candidate_p, candidate_u), plain)
    score = candidate_u if found.kept else plain[1]
    return Guarded(score, found.kept, found.auc_candidate, found.auc_plain, found.error)


def _trajectory(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim != 2 or values.shape[1] < 2:
        raise InputError(f"trajectories have shape {values.shape}; give (objects, epochs) with two epochs or more")
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("a trajectory leaves [0, 1] or holds NaN; give the probability of being positive per epoch")
    return values
