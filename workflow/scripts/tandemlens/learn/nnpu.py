"""Non-negative risk for positive and unlabelled data (Kiryo et al. 2017), and a small network trained with it.

Own loss, as in the authors' reference code: where the estimated risk of the negatives goes negative, the step goes up
that risk and nothing else. pulearn's NNPULoss keeps the positive risk in that branch, which is another objective.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tandemlens.base.errors import InputError


@dataclass(frozen=True)
class NnpuSettings:
    """How the network of `train_nnpu` is trained.

    Parameters
    ----------
    widths : tuple of int
        Hidden layers.
    epochs : int
        Passes over the unlabelled.
    batch : int
        Unlabelled per step; labelled come with as many steps a pass, drawn with replacement, at most this many.
    learning_rate, weight_decay : float
        Of Adam.
    beta, gamma : float
        Of `nnpu_loss`.
    """

    widths: tuple[int, ...] = (64,)
    epochs: int = 30
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    beta: float = 0.0
    gamma: float = 1.0


def nnpu_loss(
    margin_p: torch.Tensor, margin_u: torch.Tensor, prior: float, beta: float = 0.0, gamma: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Objective to back-propagate and risk to report, with the sigmoid loss l(z) = sigmoid(-z).

    R+ = pi mean_P l(g) and R- = mean_U l(-g) - pi mean_P l(-g). If R- >= -beta both are R+ + R-; else the objective is
    -gamma R- and the risk R+ - beta (Kiryo et al. 2017).

    Parameters
    ----------
    margin_p, margin_u : (n,), (m,) Tensor
        Network outputs g of labelled positives and of unlabelled objects.
    prior : float
        Fraction pi of positives among the unlabelled.
    beta, gamma : float

    Returns
    -------
    objective, risk : Tensor
    """
    positive = prior * torch.sigmoid(-margin_p).mean()
    negative = torch.sigmoid(margin_u).mean() - prior * torch.sigmoid(margin_p).mean()
    if negative >= -beta:
        return positive + negative, (positive + negative).detach()
    return -gamma * negative, (positive - beta).detach()


def small_network(n_features: int, widths: Sequence[int], rng: np.random.Generator) -> torch.nn.Sequential:
    """Multi-layer perceptron with one output, a margin.

    Parameters
    ----------
    n_features : int
    widths : sequence of int
        Hidden layers, each followed by a ReLU.
    rng : numpy.random.Generator
        Draws the seed of the initial weights; torch's own random state is left as it was.

    Returns
    -------
    torch.nn.Sequential
    """
    layers, size = [], n_features
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        for width in widths:
            layers += [nn.Linear(size, width), nn.ReLU()]
            size = width
        layers.append(nn.Linear(size, 1))
    return nn.Sequential(*layers)


def margins(network: torch.nn.Module, x: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Outputs of a network; larger is more positive, and sigmoid of it the probability of training by cross-entropy.

    Parameters
    ----------
    network : torch.nn.Module
    x : (n, k) ndarray
    device : str

    Returns
    -------
    (n,) ndarray
    """
    with torch.no_grad():
        return network(as_tensor(x, device)).squeeze(-1).cpu().numpy().astype(float)


def as_tensor(x: np.ndarray, device: str = "cpu") -> torch.Tensor:
    """Features as single-precision tensor.

    Parameters
    ----------
    x : (n, k) ndarray
        Standardised and without NaN.
    device : str

    Returns
    -------
    Tensor
    """
    x = np.asarray(x, np.float32)
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise InputError(f"row {row} of the features is not finite; impute before training a network")
    return torch.as_tensor(x, device=device)


def train_nnpu(
    x_labelled: np.ndarray,
    x_unlabelled: np.ndarray,
    prior: float,
    settings: NnpuSettings,
    rng: np.random.Generator,
    device: str = "cpu",
) -> tuple[torch.nn.Module, np.ndarray]:
    """Train a network on labelled positives and unlabelled objects.

    Parameters
    ----------
    x_labelled, x_unlabelled : (n, k), (m, k) ndarray
        Standardised features.
    prior : float
        Fraction of positives among the unlabelled; `tandemlens.learn.prior_estimate`.
    settings : NnpuSettings
    rng : numpy.random.Generator
    device : str

    Returns
    -------
    network : torch.nn.Module
        Its sign is the decision: a positive margin says positive at that prior.
    risks : (epochs,) ndarray
        Mean reported risk of every epoch.
    """
    if not 0 < prior < 1:
        raise InputError(f"the prior is {prior}; give the fraction of positives among the unlabelled, in (0, 1)")
    labelled, unlabelled = as_tensor(x_labelled, device), as_tensor(x_unlabelled, device)
    network = small_network(labelled.shape[1], settings.widths, rng).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    n_drawn, risks = min(settings.batch, len(labelled)), []
    for _ in range(settings.epochs):
        epoch = []
        for rows in np.array_split(rng.permutation(len(unlabelled)), -(-len(unlabelled) // settings.batch)):
            drawn = rng.integers(len(labelled), size=n_drawn)
            margin = network(torch.cat([labelled[drawn], unlabelled[rows]])).squeeze(-1)
            objective, risk = nnpu_loss(margin[:n_drawn], margin[n_drawn:], prior, settings.beta, settings.gamma)
            optimiser.zero_grad()
            objective.backward()
            optimiser.step()
            epoch.append(risk.item())
        risks.append(np.mean(epoch))
    return network, np.array(risks)
