"""Training an embedding of systems through episodes (Snell, Swersky & Zemel 2017), judged on classes held out."""

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

if TYPE_CHECKING:
    from tandemlens.learn.episodes import Episode, EpisodeSampler
    from tandemlens.learn.frozen import FrozenBags
    from tandemlens.learn.pooling import BagClassifier, BagEmbedding
    from tandemlens.learn.prototypes import Closeness


log = logging.getLogger("tandemlens")
#: episodes between looks at the held-out classes, and episodes of one look
_EVERY, _LOOKS = 20, 40


@dataclass(frozen=True)
class EpisodeTraining:
    """How `train_episodes` trains.

    Parameters
    ----------
    episodes : int
        At most.
    patience : int
        Looks at the held-out classes, one every 20 episodes, without a better one, after which training ends.
    minutes : float, min
        Training ends when they are spent.
    learning_rate, weight_decay : float
        Of AdamW; the step falls as a cosine.
    """

    episodes: int
    patience: int
    minutes: float
    learning_rate: float
    weight_decay: float


def train_episodes(
    network: "BagEmbedding",
    closeness: "Closeness",
    bags: "FrozenBags",
    train: "EpisodeSampler",
    held_out: "EpisodeSampler",
    settings: EpisodeTraining,
    rng: np.random.Generator,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Train, and keep the weights by which held-out classes are told apart best.

    Parameters
    ----------
    network : tandemlens.learn.pooling.BagEmbedding
        Around `tandemlens.learn.frozen.Given`; is left with the best weights.
    closeness : tandemlens.learn.prototypes.Closeness
        Trained with it.
    bags : tandemlens.learn.frozen.FrozenBags
    train, held_out : tandemlens.learn.episodes.EpisodeSampler
        Of rows of the bags.
    settings : EpisodeTraining
    rng : numpy.random.Generator
    progress : callable
        Called with episodes done and episodes at most.

    Returns
    -------
    dict
        ``curve`` (per look: episode, loss, held_out_loss, held_out_accuracy), ``best_episode`` (0: as drawn) and
        ``ended`` (why).
    """
    started, parts = time.monotonic(), torch.nn.ModuleList([network, closeness])
    looks = [held_out.draw(rng) for _ in range(_LOOKS)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        optimiser = torch.optim.AdamW(parts.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.episodes)
        loss, accuracy = _look(network, closeness, bags, looks)
        curve = [{"episode": 0, "loss": None, "held_out_loss": loss, "held_out_accuracy": accuracy}]
        best, weights, losses = curve[0], copy.deepcopy(parts.state_dict()), []
        ended = f"all {settings.episodes} episodes done"
        for episode in range(1, settings.episodes + 1):
            network.train()
            losses.append(_step(network, closeness, bags, train.draw(rng), rng, optimiser))
            fall.step()
            if episode % _EVERY and episode < settings.episodes:
                continue
            loss, accuracy = _look(network, closeness, bags, looks)
            facts = {"held_out_loss": loss, "held_out_accuracy": accuracy}
            curve.append({"episode": episode, "loss": float(np.mean(losses)), **facts})
            losses = []
            progress(episode, settings.episodes)
            if loss < best["held_out_loss"]:
                best, weights = curve[-1], copy.deepcopy(parts.state_dict())
            ended = _ended(curve, best, settings, time.monotonic() - started) or ended
            if not ended.startswith("all"):
                break
    parts.load_state_dict(weights)
    log.info("%s: held-out classes told with accuracy %.3f", ended, best["held_out_accuracy"])
    return {"curve": curve, "best_episode": best["episode"], "ended": ended}


def episode_logits(
    network: "BagClassifier",
    closeness: "Closeness",
    bags: "FrozenBags",
    episode: "Episode",
    rng: torch.Generator | None = None,
) -> torch.Tensor:
    """Logits of the queries of an episode.

    Parameters
    ----------
    network : BagClassifier
    closeness : tandemlens.learn.prototypes.Closeness
    bags : tandemlens.learn.bags.Bags
    episode : Episode
        Rows of `bags`: support (ways, shots) and query (ways, queries).
    rng : torch.Generator, optional
        Of the views; none takes stamps as they are.

    Returns
    -------
    (ways queries, ways) Tensor
        Way after way.
    """
    support, query = episode
    vectors = network.embed(*bags.batch(np.concatenate([support.ravel(), query.ravel()]), rng))[0]
    prototypes = vectors[: support.size].reshape(*support.shape, -1).mean(1)
    return closeness(vectors[support.size :], prototypes)


def answers(episode: "Episode") -> torch.Tensor:
    """Right way of every query.

    Parameters
    ----------
    episode : Episode

    Returns
    -------
    (ways queries,) int Tensor
    """
    return torch.arange(len(episode.query)).repeat_interleave(episode.query.shape[1])


def _step(
    network: "BagEmbedding",
    closeness: "Closeness",
    bags: "FrozenBags",
    episode: "Episode",
    rng: np.random.Generator,
    optimiser: torch.optim.Optimizer,
) -> float:
    loss = cross_entropy(episode_logits(network, closeness, bags, episode, rng), answers(episode))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@torch.no_grad()
def _look(
    network: "BagEmbedding", closeness: "Closeness", bags: "FrozenBags", episodes: "list[Episode]"
) -> tuple[float, float]:
    """Mean loss and accuracy of episodes."""
    network.eval()
    found = []
    for episode in episodes:
        logits, right = episode_logits(network, closeness, bags, episode), answers(episode)
        found.append((cross_entropy(logits, right).item(), (logits.argmax(1) == right).float().mean().item()))
    loss, accuracy = np.mean(found, axis=0)
    return float(loss), float(accuracy)


def _ended(curve: list[dict[str, Any]], best: dict[str, Any], settings: EpisodeTraining, seconds: float) -> str:
    """Why training ends with the last look, or nothing."""
    episode, since = curve[-1]["episode"], sum(entry["episode"] > best["episode"] for entry in curve)
    if episode == settings.episodes:
        return ""
    if since >= settings.patience:
        return f"no better for {settings.patience} looks, in episode {episode} of {settings.episodes}"
    if seconds > settings.minutes * 60:
        return f"the budget of {settings.minutes:g} min was spent in episode {episode} of {settings.episodes}"
    return ""
