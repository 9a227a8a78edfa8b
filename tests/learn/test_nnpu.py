"""Methods, section 6.2: the non-negative risk by its numbers, and on a toy where naive learning fails."""

import numpy as np
import pytest
import torch

from tandemlens.base.errors import InputError
from tandemlens.learn.nnpu import NnpuSettings, margins, nnpu_loss, small_network, train_nnpu

G_P = torch.tensor([2.0, 1.0])


def test_numbers_of_a_positive_risk():
    """pi = .3, g_P = (2, 1), g_U = (-1, 0, 3): R+ = .05822, R- = .33206, risk .39028."""
    g_u = torch.tensor([-1.0, 0.0, 3.0])
    objective, risk = nnpu_loss(G_P, g_u, 0.3)
    positive = 0.3 * torch.sigmoid(-G_P).mean()
    assert positive.item() == pytest.approx(0.05822, abs=5e-6)
    assert risk.item() - positive.item() == pytest.approx(0.33206, abs=5e-6)
    assert risk.item() == pytest.approx(0.39028, abs=5e-6)
    assert objective.item() == risk.item()


def test_numbers_of_a_negative_risk():
    """g_U = (-3, -2, -4): R- = -.18024, reported .05822, and what is descended is +.18024 alone."""
    g_u = torch.tensor([-3.0, -2.0, -4.0])
    objective, risk = nnpu_loss(G_P, g_u, 0.3)
    assert risk.item() == pytest.approx(0.05822, abs=5e-6)
    assert objective.item() == pytest.approx(0.18024, abs=5e-6)
    # pulearn returns R+ - gamma R- here, which is another objective
    assert objective.item() != pytest.approx(0.05822 + 0.18024, abs=0.01)


def test_gradient_of_the_negative_branch_is_that_of_minus_gamma_r():
    g_p, g_u = G_P.clone().requires_grad_(), torch.tensor([-3.0, -2.0, -4.0], requires_grad=True)
    nnpu_loss(g_p, g_u, 0.3, gamma=0.5)[0].backward()
    slope = lambda g: torch.sigmoid(g) * torch.sigmoid(-g)  # noqa: E731
    torch.testing.assert_close(g_u.grad, -0.5 * slope(g_u.detach()) / 3)
    torch.testing.assert_close(g_p.grad, 0.5 * 0.3 * slope(g_p.detach()) / 2)


def test_beta_tolerates_a_slightly_negative_risk():
    g_u = torch.tensor([-3.0, -2.0, -4.0])
    objective, risk = nnpu_loss(G_P, g_u, 0.3, beta=0.2)
    assert objective.item() == pytest.approx(0.05822 - 0.18024, abs=1e-5)
    assert nnpu_loss(G_P, g_u, 0.3, beta=0.1)[1].item() == pytest.approx(0.05822 - 0.1, abs=1e-5)
    assert risk.item() == objective.item()


def toy(seed, n_p=100, n_u=2000, n_test=4000, prior=0.4, features=10):
    rng = np.random.default_rng(seed)

    def draw(y):
        x = rng.normal(size=(len(y), features))
        x[:, :3] += 1.2 * y[:, None]
        return x

    y_test = (rng.random(n_test) < prior).astype(int)
    return draw(np.ones(n_p)), draw((rng.random(n_u) < prior).astype(int)), draw(y_test), y_test


def train_naive(labelled, unlabelled, settings, rng):
    """The same network and optimiser with the unlabelled taken for negatives (P against N, sigmoid loss)."""
    network = small_network(labelled.shape[1], settings.widths, rng)
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    x = torch.tensor(np.r_[labelled, unlabelled], dtype=torch.float32)
    sign = torch.tensor(np.r_[np.ones(len(labelled)), -np.ones(len(unlabelled))], dtype=torch.float32)
    for _ in range(settings.epochs):
        for rows in np.array_split(rng.permutation(len(x)), len(x) // settings.batch):
            loss = torch.sigmoid(-sign[rows] * network(x[rows]).squeeze(-1)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network


def test_beats_naive_learning():
    settings, wrong = NnpuSettings(epochs=20), {"nnpu": [], "naive": []}
    for seed in range(3):
        labelled, unlabelled, x, y = toy(seed)
        network, risks = train_nnpu(labelled, unlabelled, 0.4, settings, np.random.default_rng(seed))
        wrong["nnpu"].append(((margins(network, x) > 0) != y).mean())
        naive = train_naive(labelled, unlabelled, settings, np.random.default_rng(seed))
        wrong["naive"].append(((margins(naive, x) > 0) != y).mean())
        assert risks[-1] < risks[0]
    # the best possible rule errs on 0.145; naive learning calls everything negative, which errs on the prior
    assert np.mean(wrong["nnpu"]) < 0.22
    assert np.mean(wrong["naive"]) > 0.35


def test_same_generator_same_network_and_torch_state_untouched():
    labelled, unlabelled, x, _ = toy(0, n_u=300)
    before = torch.random.get_rng_state()
    settings = NnpuSettings(epochs=2)
    first, again, other = (
        margins(train_nnpu(labelled, unlabelled, 0.4, settings, np.random.default_rng(seed))[0], x)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert torch.equal(before, torch.random.get_rng_state())


def test_refusals():
    labelled, unlabelled, _, _ = toy(0, n_u=20)
    with pytest.raises(InputError, match="the prior is 0"):
        train_nnpu(labelled, unlabelled, 0, NnpuSettings(), np.random.default_rng(0))
    unlabelled[4, 1] = np.nan
    with pytest.raises(InputError, match="row 4 of the features"):
        train_nnpu(labelled, unlabelled, 0.1, NnpuSettings(), np.random.default_rng(0))
