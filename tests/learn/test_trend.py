"""Methods, section 7: trend scores by hand, the break against every split, the guard, and the Hawkes process."""

from itertools import pairwise

import jenkspy
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import approx_fprime

from tandemlens.base.errors import InputError
from tandemlens.learn.trend import (
    PhaseSettings,
    fit_hawkes,
    fit_hawkes_score,
    hawkes_features,
    hawkes_log_likelihood,
    hawkes_or_mean,
    jump_times,
    train_snapshots,
    trajectories,
    trend_or_mean,
    trend_score,
    two_class_break,
)


def test_hand_sequences():
    """[.5, .4, .3, .2] -> ln(1 - .1 + .005) = ln(.905) = -.09982; a constant -> 0."""
    scores = trend_score(np.array([[0.5, 0.4, 0.3, 0.2], [0.7, 0.7, 0.7, 0.7]]))
    np.testing.assert_allclose(scores, [-0.09982, 0], atol=5e-6)
    assert scores[0] == pytest.approx(np.log(0.905), abs=1e-12)


def test_fluctuation_scores_above_steady_fall():
    steady, fitful = np.linspace(0.6, 0.3, 7), np.array([0.6, 0.4, 0.65, 0.3, 0.6, 0.2, 0.3])
    fall, fits = trend_score(np.array([steady, fitful]))
    assert fall < fits
    assert fall < 0


def test_class_zero_turns_every_trend_round():
    """The authors' class 0 is the positive one: their other column ranks rising objects last."""
    rng = np.random.default_rng(0)
    positive = np.clip(0.5 + np.cumsum(rng.normal(0.02, 0.02, (50, 10)), axis=1), 0, 1)
    negative = np.clip(0.5 + np.cumsum(rng.normal(-0.02, 0.02, (50, 10)), axis=1), 0, 1)
    assert trend_score(positive).min() > trend_score(negative).max()
    assert trend_score(1 - positive).max() < trend_score(1 - negative).min()


def test_break_lies_between_two_clusters():
    rng = np.random.default_rng(1)
    low, high = rng.normal(-0.1, 0.01, 300), rng.normal(0.1, 0.02, 40)
    assert two_class_break(np.r_[high, low]) == low.max()


def scatter(values, at):
    return sum(part.var() * len(part) for part in (values[values <= at], values[values > at]))


def test_break_is_the_smallest_scatter_of_all_splits():
    rng = np.random.default_rng(2)
    for n in (2, 3, 10, 60):
        values = rng.gamma(0.7, size=n)
        found = two_class_break(values)
        splits = [scatter(values, at) for at in np.sort(values)[:-1]]
        assert scatter(values, found) == pytest.approx(min(splits), rel=1e-9)
        if n > 2:
            assert found == pytest.approx(jenkspy.jenks_breaks(values.tolist(), n_classes=2)[1])


def gaussians(seed, n_p=100, n_hidden=300, n_u=8000, features=10, shift=1.6):
    """The sample of the check: 10 Gaussians, positives moved by 1.6 in three; alpha = .036."""
    rng = np.random.default_rng(seed)
    y = np.repeat([1, 0], [n_hidden, n_u])
    unlabelled = rng.normal(size=(len(y), features))
    unlabelled[:, :3] += shift * y[:, None]
    labelled = rng.normal(size=(2 * n_p, features))
    labelled[:, :3] += shift
    return labelled[:n_p], labelled[n_p:], unlabelled, y


def followed(settings, seed):
    """Trajectories of held-out labelled and of unlabelled, and the truth of the latter."""
    labelled, held_out, unlabelled, y = gaussians(seed)
    snapshots = train_snapshots(labelled, unlabelled, settings, np.random.default_rng(seed))
    return trajectories(snapshots, held_out), trajectories(snapshots, unlabelled), y


def area(score, y):
    rank = np.argsort(np.argsort(score)) + 1
    return (rank[y == 1].mean() - (y.sum() + 1) / 2) / (len(y) - y.sum())


EARLY = PhaseSettings(learning_rate=1e-3, steps=20)
LATE = PhaseSettings(learning_rate=0.05, widths=(64, 64), steps=60)


def test_trend_works_early_and_fails_late_and_the_guard_knows():
    """Methods: AUC of the trend .97 to .08 by settings, against .92 to .97 for the mean: never worse than the mean."""
    for settings, trend_is in (("early", "close"), ("late", "worse")):
        held_out, unlabelled, y = followed({"early": EARLY, "late": LATE}[settings], 0)
        trend, mean = area(trend_score(unlabelled), y), area(unlabelled.mean(1), y)
        guarded = trend_or_mean(held_out, unlabelled)
        assert mean > 0.9
        assert (trend > 0.9) == (trend_is == "close")
        assert area(guarded.score, y) >= mean - 0.01
        # what the guard sees is the truth seen through a mixture: AUC_PU = (1 - alpha) AUC + alpha/2
        alpha = y.mean()
        for seen, true in ((guarded.auc_candidate, trend), (guarded.auc_mean, mean)):
            assert seen == pytest.approx((1 - alpha) * true + alpha / 2, abs=0.04)


def test_guard_keeps_a_trend_that_tells_and_drops_one_turned_round():
    rng = np.random.default_rng(3)
    level = rng.uniform(0.3, 0.7, (900, 1))
    drift = np.where(np.arange(900) < 300, 0.02, -0.02)[:, None]
    path = np.clip(level + drift * np.arange(8) + rng.normal(0, 0.03, (900, 8)), 0, 1)
    kept = trend_or_mean(path[:100], path[100:])
    assert kept.kept
    assert kept.auc_candidate > kept.auc_mean + kept.error
    np.testing.assert_array_equal(kept.score, trend_score(path[100:]))
    turned = 1 - path
    dropped = trend_or_mean(turned[:100], turned[100:])
    assert not dropped.kept
    np.testing.assert_array_equal(dropped.score, turned[100:].mean(1))


def test_guard_does_not_keep_what_is_better_by_chance():
    """Trajectories without any information: the gain exceeds its error in about one of six."""
    rng = np.random.default_rng(4)
    kept = [trend_or_mean(rng.random((60, 8)), rng.random((400, 8))).kept for _ in range(300)]
    assert np.mean(kept) == pytest.approx(0.16, abs=0.06)


def test_trajectories_are_probabilities_of_being_positive():
    held_out, unlabelled, y = followed(EARLY, 1)
    assert unlabelled.shape == (8300, EARLY.epochs)
    assert held_out[:, -1].mean() > unlabelled[:, -1].mean() + 0.2
    assert unlabelled[y == 1, -1].mean() > unlabelled[y == 0, -1].mean() + 0.2
    # no prior enters: with as many labelled as unlabelled per step the mean level of mixed objects is near one half
    assert 0.2 < unlabelled[:, -1].mean() < 0.5


def test_training_repeats_and_the_running_mean_is_smoother():
    short = PhaseSettings(epochs=6, steps=10, learning_rate=0.05)
    labelled, _, unlabelled, _ = gaussians(2, n_u=500)
    first, again = (
        trajectories(train_snapshots(labelled, unlabelled, short, np.random.default_rng(5)), unlabelled)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    smooth = PhaseSettings(epochs=6, steps=10, learning_rate=0.05, ema=0.95)
    mean = trajectories(train_snapshots(labelled, unlabelled, smooth, np.random.default_rng(5)), unlabelled)
    assert np.abs(np.diff(mean, 2, axis=1)).mean() < 0.7 * np.abs(np.diff(first, 2, axis=1)).mean()


def simulate_hawkes(baseline, excitation, decay, duration, rng):
    """By descent: every event, spontaneous or not, has Poisson(n) children after exponential waits."""
    parents = rng.uniform(0, duration, rng.poisson(baseline * duration))
    every = [parents]
    while len(parents):
        children = np.repeat(parents, rng.poisson(excitation, len(parents)))
        parents = children + rng.exponential(1 / decay, len(children))
        parents = parents[parents < duration]
        every.append(parents)
    return np.sort(np.concatenate(every))


def test_hawkes_likelihood_is_exact():
    """Against the definition: intensity at the events, and its integral by quadrature between them."""
    rng = np.random.default_rng(6)
    times, duration, p = np.sort(rng.uniform(0, 10, 12)), 10.0, (0.7, 0.4, 1.3)

    def intensity(t):
        earlier = times[times < t]
        return p[0] + p[1] * p[2] * np.exp(-p[2] * (t - earlier)).sum()

    edges = np.r_[0, times, duration]
    integral = sum(quad(intensity, a, b)[0] for a, b in pairwise(edges))
    expected = sum(np.log(intensity(t)) for t in times) - integral
    value, gradient = hawkes_log_likelihood(times, duration, *p)
    assert value == pytest.approx(expected, abs=1e-8)
    slope = approx_fprime(np.array(p), lambda q: hawkes_log_likelihood(times, duration, *q)[0], 1e-7)
    np.testing.assert_allclose(gradient, slope, atol=1e-4)


def test_hawkes_without_memory_is_poisson():
    times = np.array([1.0, 2.5, 7.0])
    assert hawkes_log_likelihood(times, 10.0, 0.3, 0.0, 1.0)[0] == pytest.approx(3 * np.log(0.3) - 3)


def test_hawkes_parameters_are_recovered():
    """30 simulations: each parameter's mean lies within three standard errors of the truth, plus 3 per cent of bias."""
    rng = np.random.default_rng(7)
    truth = np.array([0.5, 0.5, 1.5])
    found = np.array([fit_hawkes(simulate_hawkes(*truth, 300, rng), 300.0) for _ in range(30)])
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - truth) < 3 * error + 0.03 * truth).all()
    assert (error < 0.1 * truth).all()


def test_hawkes_likelihood_ratio_is_chi_square():
    rng = np.random.default_rng(8)
    truth, ratios = (0.5, 0.5, 1.5), []
    for _ in range(30):
        times = simulate_hawkes(*truth, 300, rng)
        best = hawkes_log_likelihood(times, 300.0, *fit_hawkes(times, 300.0))[0]
        ratios.append(2 * (best - hawkes_log_likelihood(times, 300.0, *truth)[0]))
    assert min(ratios) > -1e-6
    # mean 3, standard error sqrt(6/30) = 0.45
    assert np.mean(ratios) == pytest.approx(3, abs=1.35)


def test_jumps():
    path = np.array([[0.1, 0.3, 0.3, 0.2, 0.9], [0.5, 0.5, 0.5, 0.5, 0.5]])
    assert jump_times(path, 0.05).tolist() == [[True, False, False, True], [False] * 4]


def from_jumps(jumps):
    """A trajectory that rises by 0.02 where there is a jump and else falls by 0.001."""
    return np.cumsum(np.c_[np.full(len(jumps), 0.1), np.where(jumps, 0.02, -0.001)], axis=1)


def test_hawkes_features_tell_bursts_from_chance():
    chance = np.random.default_rng(9).random((40, 30)) < 0.3
    bursts = np.zeros((40, 30), bool)
    for row, start in zip(bursts, np.random.default_rng(10).integers(0, 10, 40), strict=True):
        row[start : start + 4] = row[start + 14 : start + 18] = True
    baseline, decay, excitation, clustering = hawkes_features(from_jumps(np.r_[chance, bursts]), 0.01).T
    assert excitation[40:].mean() > excitation[:40].mean() + 0.3
    assert clustering[40:].min() > clustering[:40].mean()
    assert baseline[40:].mean() < baseline[:40].mean()
    assert (decay >= 0).all()


def test_few_jumps_are_a_plain_rate():
    jumps = np.zeros((2, 10), bool)
    jumps[1, [2, 8]] = True
    np.testing.assert_array_equal(hawkes_features(from_jumps(jumps), 0.01), [[0, 0, 0, 1], [0.2, 0, 0, 1]])


def test_a_row_has_its_own_trajectory():
    """Snapshots are the network of their own epoch, and a row is scored alike alone or among others."""
    labelled, _, unlabelled, _ = gaussians(3, n_u=300)
    short = PhaseSettings(epochs=4, steps=5, learning_rate=0.05)
    snapshots = train_snapshots(labelled, unlabelled, short, np.random.default_rng(5))
    path = trajectories(snapshots, unlabelled)
    assert (np.abs(np.diff(path, axis=1)).max(axis=0) > 1e-3).all()
    np.testing.assert_allclose(trajectories(snapshots, unlabelled[7:8])[0], path[7], atol=1e-6)
    fewer = PhaseSettings(epochs=2, steps=5, learning_rate=0.05)
    begun = trajectories(train_snapshots(labelled, unlabelled, fewer, np.random.default_rng(5)), unlabelled)
    np.testing.assert_array_equal(begun, path[:, :2])


def test_hawkes_guard_keeps_bursts_and_drops_noise():
    """Bursts or not at one mean level: only the Hawkes features tell; on noise they lose to the mean."""
    rng = np.random.default_rng(11)
    positive = np.arange(400) < 160
    jumps = rng.random((400, 20)) < 0.4
    jumps[positive] = np.sort(jumps[positive], axis=1)[:, ::-1]
    rolled = np.array([np.roll(row, k) for row, k in zip(jumps, rng.integers(20, size=400), strict=True)])
    path = from_jumps(rolled)
    path += 0.4 - path.mean(axis=1, keepdims=True) + rng.normal(0, 0.05, (400, 1))
    kept = hawkes_or_mean(path[:60], path[60:], 0.01, rng)
    assert kept.kept
    assert kept.auc_candidate > kept.auc_mean + 0.1
    weights = fit_hawkes_score(path[:60], path[60:], 0.01)
    later = hawkes_features(path[60:], 0.01) @ weights
    assert np.corrcoef(later, kept.score)[0, 1] > 0.95
    level = rng.random((300, 1)) * 0.5 + 0.2 * (np.arange(300) < 100)[:, None]
    noise = level + rng.uniform(0, 0.1, (300, 12))
    dropped = hawkes_or_mean(noise[:50], noise[50:], 0.02, rng)
    assert not dropped.kept
    np.testing.assert_array_equal(dropped.score, noise[50:].mean(axis=1))


def test_refusals():
    with pytest.raises(InputError, match="two epochs"):
        trend_score(np.array([[0.5]]))
    with pytest.raises(InputError, match=r"leaves \[0, 1\]"):
        trend_score(np.array([[0.5, 1.5]]))
    with pytest.raises(InputError, match="1 values"):
        two_class_break(np.array([1.0]))
    with pytest.raises(InputError, match="9 held-out"):
        hawkes_or_mean(np.full((9, 3), 0.5), np.full((9, 3), 0.5), 0.1, np.random.default_rng(0))
