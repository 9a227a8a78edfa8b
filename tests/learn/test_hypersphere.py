"""Detectors of anomalies: no collapse, whitening, radii, and the shapes that each can and cannot find."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from torch import nn

from tandemlens.base.errors import InputError
from tandemlens.learn import detectors
from tandemlens.learn.detectors import METHODS, HypersphereSettings, fit_detector, restore_detector
from tandemlens.learn.hypersphere import (
    effective_rank,
    fixed_centre,
    projection,
    quantile_radius,
    shell_loss,
    soft_boundary_loss,
    whiten,
)

NETWORKS = METHODS[2:]
SETTINGS = HypersphereSettings(widths=(8, 4), epochs=6, warm_up=2, batch=64, nu=0.1)


def rng(seed=0):
    return np.random.default_rng(seed)


def mixed(n, k, seed=0):
    """Correlated features with heavy tails, mean 0 and scatter 1."""
    x = rng(seed).standard_t(6, size=(n, k)) @ (np.eye(k) + 0.4 * rng(1).normal(size=(k, k)))
    return (x - x.mean(0)) / x.std(0)


def on_sphere(n, k, radius, seed):
    draw = rng(seed)
    v = draw.normal(size=(n, k))
    return radius * (1 + 0.05 * draw.normal(size=(n, 1))) * v / np.linalg.norm(v, axis=1, keepdims=True)


def area(detector, ordinary, odd):
    return roc_auc_score(np.repeat([0, 1], [len(ordinary), len(odd)]), detector.score(np.concatenate([ordinary, odd])))


@pytest.mark.parametrize("method", NETWORKS)
def test_no_parameter_is_a_bias(method):
    names = [name for name, _ in fit_detector(method, mixed(200, 5), SETTINGS, rng()).named_parameters()]
    assert names == ["network.0.weight", "network.2.weight"]


@pytest.mark.parametrize("method", ["svdd", "soft_svdd"])
def test_constant_features_cannot_reach_the_centre(method, monkeypatch):
    """Standardised they are 0, and so is what is mapped; with biases the same training collapses."""
    settings = HypersphereSettings(widths=(8, 4), epochs=400, warm_up=400, batch=64, learning_rate=1e-2)
    found = fit_detector(method, np.zeros((60, 5)), settings, rng())
    least = 4 * 0.1**2 / (settings.nu if method == "soft_svdd" else 1)
    assert found.losses[-1] == pytest.approx(least)
    assert found.losses[-1] > 1e-3

    def with_biases(n_features, widths, rng):
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Linear(*s, dtype=torch.float64) for s in ((n_features, 8), (8, 4))))

    monkeypatch.setattr(detectors, "projection", with_biases)
    monkeypatch.setattr(detectors, "fixed_centre", lambda mapped: mapped.mean(0) + 0.3)
    assert fit_detector(method, np.zeros((60, 5)), settings, rng()).losses[-1] < 1e-3


def test_whitened_rows_have_the_unit_matrix_as_covariance():
    mapped = torch.from_numpy(mixed(300, 6) * [1, 1e3, 1e-3, 5, 1, 1] + 40)
    z = whiten(mapped)
    np.testing.assert_allclose(z.T @ z / 300, np.eye(6), atol=1e-6)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-6)
    # the distances are those of Mahalanobis, whatever the rotation
    inverse = np.linalg.inv(np.cov(mapped.T, bias=True))
    expected = [mahalanobis(row, mapped.mean(0), inverse) for row in mapped.numpy()]
    np.testing.assert_allclose(z.norm(dim=1), expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["mahalanobis", "dohsc", "do2hsc"])
def test_the_whitening_that_is_kept_is_that_of_the_shrunk_covariance(method):
    x = mixed(200, 5)
    found = fit_detector(method, x, SETTINGS, rng())
    with torch.no_grad():
        covariance = LedoitWolf().fit(found.network(torch.from_numpy(x)).numpy()).covariance_
    w = found.whitening.numpy()
    np.testing.assert_allclose(w.T @ covariance @ w, np.eye(len(w)), atol=1e-6)


def test_what_is_whitened_cannot_shrink():
    """The gradient is at right angles to the weights, because the loss does not change with their scale."""
    network, rows = projection(5, (4,), rng()), torch.from_numpy(mixed(100, 5))
    squared = whiten(network(rows)).square().sum(-1)
    soft_boundary_loss(squared, quantile_radius(squared, 0.9), 0.1).backward()
    weight = network[0].weight
    assert weight.grad.norm() > 1e-3
    assert abs((weight * weight.grad).sum()) < 1e-10 * weight.norm() * weight.grad.norm() + 1e-12


def test_a_linear_map_that_keeps_all_is_the_mahalanobis_distance():
    x = mixed(4000, 4)
    settings = HypersphereSettings(widths=(4,), epochs=1, batch=500)
    pair = [fit_detector(method, x, settings, rng()).score(x) for method in ("mahalanobis", "dohsc")]
    np.testing.assert_allclose(*pair, rtol=0.03)
    shrunk = LedoitWolf().fit(x)
    np.testing.assert_allclose(pair[0] ** 2, shrunk.mahalanobis(x), rtol=1e-9)


def test_neighbours_are_those_of_the_sample():
    x, other = mixed(50, 3), mixed(20, 3, 5)
    expected = np.sort(cdist(other, x), axis=1)[:, :5].mean(1)
    np.testing.assert_allclose(fit_detector("knn", x, SETTINGS, rng()).score(other), expected)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "knn"])
def test_so_large_a_share_is_outside_of_the_radii(method):
    x, n = mixed(200, 5), 200
    found = fit_detector(method, x, SETTINGS, rng())
    with torch.no_grad():
        distance = found(torch.from_numpy(x)).sqrt()
    inner, outer = found.radii
    assert abs((distance > outer).double().mean() - SETTINGS.nu) <= 1 / n
    assert abs((distance < inner).double().mean() - SETTINGS.nu) <= 1 / n


@pytest.mark.parametrize("nu", [0.01, 0.1, 0.37])
def test_the_quantile_radius_leaves_out_the_share(nu):
    squared = torch.from_numpy(rng().exponential(size=73))
    outside = (squared.sqrt() > quantile_radius(squared, 1 - nu)).double().mean()
    assert abs(outside - nu) <= 1 / 73


def test_losses_by_hand():
    squared = torch.tensor([1.0, 4.0, 9.0, 16.0], dtype=torch.float64)
    assert soft_boundary_loss(squared, 2.0, 0.5).item() == pytest.approx(4 + (5 + 12) / 4 / 0.5)
    assert soft_boundary_loss(squared, 0.0, 1.0).item() == pytest.approx(squared.mean().item())
    assert shell_loss(squared, 1.5, 3.5).item() == pytest.approx((1.25 + 3.75) / 4)
    # as in the paper, less the least value
    paper = (squared.clamp(min=3.5**2) - squared.clamp(max=1.5**2)).mean() - (3.5**2 - 1.5**2)
    assert shell_loss(squared, 1.5, 3.5).item() == pytest.approx(paper.item())
    assert shell_loss(squared, 1.0, 4.0).item() == 0


def test_a_centre_stays_off_zero():
    mapped = torch.tensor([[0.3, 0.02, -0.02, 0.0, -5.0]], dtype=torch.float64)
    assert fixed_centre(mapped).tolist() == [0.3, 0.1, -0.1, 0.1, -5.0]


@pytest.mark.parametrize("k", [2, 6])
@pytest.mark.parametrize("seed", range(3))
def test_a_shell_finds_the_centre_of_a_ring_and_a_sphere_does_not(k, seed):
    """Half of what is odd lies in the centre and half outside; a linear map keeps the ring a ring."""
    ring, later = on_sphere(400, k, k**0.5, seed), on_sphere(300, k, k**0.5, seed + 50)
    centre, outside = 0.1 * rng(seed).normal(size=(150, k)), on_sphere(150, k, 1.5 * k**0.5, seed + 90)
    settings = HypersphereSettings(widths=(k,), nu=0.1)
    sphere, shell = (fit_detector(method, ring, settings, rng(seed)) for method in ("dohsc", "do2hsc"))
    odd = np.concatenate([centre, outside])
    assert area(sphere, later, odd) == pytest.approx(0.5, abs=0.03)
    assert area(sphere, later, centre) < 0.05
    assert area(shell, later, odd) > 0.95
    assert area(shell, later, centre) > 0.95
    assert area(sphere, later, outside) > 0.95


def test_the_shell_begins_where_the_sphere_of_the_whole_sample_was():
    """In one batch: the radii are quantiles of the distances when the warm-up ends."""
    x, given = mixed(200, 5), {"widths": (8, 4), "batch": 200, "nu": 0.1}
    sphere = fit_detector("dohsc", x, HypersphereSettings(epochs=3, **given), rng())
    shell = fit_detector("do2hsc", x, HypersphereSettings(epochs=4, warm_up=3, **given), rng())
    np.testing.assert_allclose(shell.losses[:3], sphere.losses)
    with torch.no_grad():
        squared = whiten(sphere.network(torch.from_numpy(x))).square().sum(-1)
    expected = shell_loss(squared, quantile_radius(squared, 0.1), quantile_radius(squared, 0.9))
    assert shell.losses[3] == pytest.approx(expected.item())


@pytest.mark.parametrize("method", METHODS)
def test_far_rows_are_odd(method):
    x = mixed(300, 6)
    settings = HypersphereSettings(widths=(8, 4), epochs=20, warm_up=5, batch=64)
    assert area(fit_detector(method, x, settings, rng()), mixed(200, 6, 3), 6 * mixed(200, 6, 4)) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_detector_also_from_its_numbers(method):
    x, other = mixed(150, 5), mixed(30, 5, 2)
    first, again = (fit_detector(method, x, SETTINGS, rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.score(other), again.score(other))
    restored = restore_detector(method, {k: v.clone() for k, v in first.state_dict().items()})
    np.testing.assert_array_equal(first.score(other), restored.score(other))
    # a row has its score, whoever stands beside it
    np.testing.assert_allclose(restored.score(other[:2]), first.score(other)[:2], rtol=1e-9)
    if method in NETWORKS:
        assert (fit_detector(method, x, SETTINGS, rng(4)).score(other) != first.score(other)).any()


def test_the_random_state_of_torch_is_left_alone():
    state = torch.get_rng_state()
    fit_detector("do2hsc", mixed(150, 5), SETTINGS, rng())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("method", NETWORKS)
def test_training_lowers_the_loss_and_keeps_dimensions(method):
    x = mixed(400, 8)
    settings = HypersphereSettings(widths=(16, 4), epochs=30, warm_up=5, batch=100)
    found = fit_detector(method, x, settings, rng())
    start = settings.warm_up if method in ("soft_svdd", "do2hsc") else 0
    assert len(found.losses) == 30
    assert found.losses[-1] < found.losses[start]
    with torch.no_grad():
        assert effective_rank(found.network(torch.from_numpy(x))) > 1.5


def test_the_effective_rank_counts_dimensions():
    draw = torch.from_numpy(rng().normal(size=(100, 4)))
    q = torch.linalg.qr(draw - draw.mean(0))[0]
    assert effective_rank(q[:, :3]) == pytest.approx(3)
    assert effective_rank(q[:, :1]) == pytest.approx(1)
    assert effective_rank(torch.cat([q[:, :1]] * 4, dim=1)) == pytest.approx(1)
    assert effective_rank(torch.ones(5, 2, dtype=torch.float64)) == 0


@pytest.mark.parametrize(
    ("method", "x", "settings", "said"),
    [
        ("knn", np.zeros((4, 3)), {}, "4 systems have no 5 neighbours; lower anomaly.neighbours"),
        ("svdd", np.full((9, 3), np.nan), {}, "row 0 of the features is not finite; fill gaps"),
        ("mahalanobis", np.zeros((9, 3)), {}, "does not fill the 3 dimensions .* lower the last one of anomaly.widths"),
        ("dohsc", np.zeros((90, 3)), {}, "does not fill the 4 dimensions"),
        ("dohsc", mixed(7, 3), {}, "batches of 7 systems cannot be whitened in 4 dimensions; take 2 for each"),
        ("do2hsc", mixed(130, 3), {"widths": (40,)}, "batches of 43 systems cannot be whitened in 40 dimensions"),
        (
            "svdd",
            mixed(90, 3),
            {"learning_rate": 1e300},
            "diverged: the loss is .* lower anomaly.learning_rate, now 1e",
        ),
        ("dohsc", mixed(90, 3), {"learning_rate": 1e300}, "training diverged: what is mapped is not finite"),
    ],
)
def test_what_cannot_be_fitted_is_said(method, x, settings, said):
    with pytest.raises(InputError, match=said):
        fit_detector(method, x, HypersphereSettings(**{**vars(SETTINGS), **settings}), rng())
