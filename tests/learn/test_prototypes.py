"""Prototypes, episodes and SimpleShot against closed forms."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import softmax

from tandemlens.base.errors import InputError
from tandemlens.learn.episodes import EpisodeSampler, fine_classes
from tandemlens.learn.episodic import EpisodeTraining, answers, episode_logits, train_episodes
from tandemlens.learn.frozen import FrozenBags, Given
from tandemlens.learn.pooling import create_embedding
from tandemlens.learn.prototypes import Closeness, centred, lens_log_odds, many_prototypes, support_mean
from tandemlens.learn.shots import SimpleShot, lens_prototype

NETWORK = {"width": 16, "layers": 0, "dropout": 0.0}


def test_one_dimension_by_hand():
    """Prototypes 0 and 2, query 0.5: logits -0.25 and -2.25, p = 0.8808."""
    logits = Closeness("squared")(torch.tensor([[0.5]]), torch.tensor([[0.0], [2.0]]))
    torch.testing.assert_close(logits, torch.tensor([[-0.25, -2.25]]))
    assert softmax(logits, 1)[0, 0].item() == pytest.approx(0.8808, abs=5e-5)


def test_odds_of_one_other_are_the_difference_of_logits_and_shares_weigh():
    near, vectors = Closeness("squared"), torch.tensor([[0.5], [3.0]])
    lens, others = torch.tensor([0.0]), torch.tensor([[2.0]])
    torch.testing.assert_close(lens_log_odds(near, vectors, lens, others, torch.ones(1)), torch.tensor([2.0, -8.0]))
    # one of the others told twice, with half its share each, changes nothing
    twice = lens_log_odds(near, vectors, lens, others.repeat(2, 1), torch.full((2,), 0.5))
    torch.testing.assert_close(twice, torch.tensor([2.0, -8.0]))


def test_cosines_have_a_temperature_that_is_learnt():
    near = Closeness("cosine")
    logits = near(torch.tensor([[2.0, 0.0]]), torch.tensor([[5.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(logits, torch.tensor([[10.0, 0.0]]))
    logits[0, 0].backward()
    assert near.log_scale.grad.item() == pytest.approx(10.0)
    assert not list(Closeness("squared").parameters())


def test_many_faces_have_many_prototypes():
    rng = np.random.default_rng(0)
    faces = np.array([[0, 0], [10, 0], [0, 10]])
    vectors = np.concatenate(
        [face + 0.1 * rng.normal(size=(n, 2)) for face, n in zip(faces, (10, 20, 30), strict=True)]
    )
    found, share = many_prototypes(vectors, 3, 1)
    order = np.argsort(share)
    np.testing.assert_allclose(found[order], faces, atol=0.1)
    np.testing.assert_allclose(share[order], [1 / 6, 1 / 3, 1 / 2])
    # no more prototypes than vectors that differ
    assert len(many_prototypes(np.repeat(faces, 4, 0), 8, 1)[0]) == 3


def test_centred_features_have_length_one():
    found = centred(np.array([[3.0, 5.0], [1.0, 1.0]]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [1.0, 0.0]], atol=1e-6)
    assert np.isfinite(centred(np.ones((1, 2)), np.ones(2))).all()


def test_graded_candidates_share_the_prototype_where_there_are_enough():
    simulated, graded = np.zeros((4, 1)), np.full((5, 1), 8.0)
    assert lens_prototype(simulated, graded, 0.25, 5)[0] == pytest.approx(2.0)
    assert lens_prototype(simulated, graded[:4], 0.25, 5)[0] == 0
    assert support_mean(np.array([[0.0], [3.0]]), np.array([2.0, 1.0]))[0] == pytest.approx(1.0)


def test_episodes_hold_what_they_promise():
    classes = np.repeat(["a", "b", "c", "d", ""], [8, 9, 10, 3, 50])
    sampler = EpisodeSampler(classes, 3, 4, 4)
    assert sampler.left_out == {"d": 3}
    for seed in range(5):
        support, query = sampler.draw(np.random.default_rng(seed))
        assert (support.shape, query.shape) == ((3, 4), (3, 4))
        rows = np.concatenate([support, query], 1)
        assert len(np.unique(rows)) == rows.size
        names = classes[rows]
        assert (names == names[:, :1]).all()
        assert len(set(names[:, 0])) == 3
    one, two = (sampler.draw(np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.support, two.support)
    assert answers(one).tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_class_with_fewer_members_than_shots_is_named():
    with pytest.raises(
        InputError, match=r"1 classes have the 5 \+ 3 members that an episode of 2 takes \(too few: b 7\)"
    ):
        EpisodeSampler(np.repeat(["a", "b"], [8, 7]), 2, 5, 3)


def test_classes_are_divided_as_far_as_members_last():
    rows = [("tandem", "", 3.0, 2)] * 6 + [("tandem", "", 9.0, 2)] * 5 + [("artefact", "trail", 5.0, 0)] * 4
    rows += [("artefact", "ghost", 5.0, 0)] * 2 + [("members", "", 5.0, 0)] * 5
    systems = pd.DataFrame(rows, columns=["class", "artefact", "theta_e", "n_seen"])
    found = pd.Series(fine_classes(systems, 4)).value_counts().to_dict()
    expected = {"tandem//0/2": 6, "tandem//2/2": 5, "artefact/trail/1/0": 4, "artefact": 2, "members//1/0": 5}
    assert found == expected
    # one that is too small is with the rest of its class
    assert set(fine_classes(systems, 6)) == {"tandem//0/2", "tandem", "artefact", "members"}


@pytest.fixture
def bags():
    """60 bags of 3 stamps; the class of a bag is the feature that its second stamp has."""
    rng, n, width = np.random.default_rng(1), 60, 8
    features = 0.3 * rng.normal(size=(1, 3 * n, width))
    features[0, np.arange(n) * 3 + 1, np.arange(n) % 6] += 2
    tensors = torch.tensor(features, dtype=torch.float32), torch.zeros(1, 3 * n, 2)
    return FrozenBags(*tensors, 3 * np.arange(n + 1))


def embedding(bags, seed=0):
    return create_embedding(Given(bags.features.shape[2]), np.zeros((1, 2)), NETWORK, np.random.default_rng(seed))


def test_support_may_be_permuted_and_ways_renamed(bags):
    network, near = embedding(bags).eval(), Closeness("squared")
    episode = EpisodeSampler(np.array(list("abcdef") * 10), 3, 4, 4).draw(np.random.default_rng(0))
    logits = episode_logits(network, near, bags, episode)
    turned = episode_logits(network, near, bags, episode._replace(support=episode.support[:, ::-1]))
    torch.testing.assert_close(turned, logits)
    order = [2, 0, 1]
    renamed = episode_logits(network, near, bags, type(episode)(episode.support[order], episode.query[order]))
    torch.testing.assert_close(renamed.reshape(3, 4, 3), logits.reshape(3, 4, 3)[order][:, :, order])


def accuracy(network, near, bags, classes, n=30):
    network.eval()
    sampler, rng, right = EpisodeSampler(classes, 2, 4, 4), np.random.default_rng(9), []
    for _ in range(n):
        episode = sampler.draw(rng)
        right.append((episode_logits(network, near, bags, episode).argmax(1) == answers(episode)).float().mean().item())
    return np.mean(right)


def test_training_carries_over_to_classes_held_out_and_not_to_shuffled_labels(bags):
    classes = np.array(list("abcdef") * 10)
    train, held = (np.where(np.isin(classes, list(some)), classes, "") for some in ("abcd", "ef"))
    settings = EpisodeTraining(80, 9, 1.0, 3e-3, 0.01)
    network, near = embedding(bags), Closeness("squared")
    samplers = EpisodeSampler(train, 3, 4, 4), EpisodeSampler(held, 2, 4, 4)
    report = train_episodes(
        network, near, bags, *samplers, settings, np.random.default_rng(2), lambda done, total: None
    )
    assert report["curve"][-1]["loss"] < 0.5 < report["curve"][1]["loss"]
    assert accuracy(network, near, bags, held) > 0.9
    shuffled = np.random.default_rng(3).permutation(held)
    assert accuracy(network, near, bags, shuffled) == pytest.approx(0.5, abs=0.12)
    again = embedding(bags)
    other = train_episodes(again, near, bags, *samplers, settings, np.random.default_rng(2), lambda done, total: None)
    assert other == report


def test_training_ends_when_nothing_is_gained_or_time_is_spent(bags):
    classes = np.array(list("abcdef") * 10)
    sampler = EpisodeSampler(classes, 3, 4, 4)

    def ended(**changes):
        settings = EpisodeTraining(**{**vars(EpisodeTraining(100, 1, 1.0, 0.0, 0.0)), **changes})
        network, rng = embedding(bags), np.random.default_rng(0)
        return train_episodes(network, Closeness("squared"), bags, sampler, sampler, settings, rng, print)

    assert ended()["ended"] == "no better for 1 looks, in episode 20 of 100"
    assert ended(minutes=0, patience=9)["ended"] == "the budget of 0 min was spent in episode 20 of 100"
    # the weights as they were drawn were the best
    assert ended()["best_episode"] == 0


def test_simple_shot_ranks_by_the_nearest_mean(bags):
    ranking = SimpleShot(16)
    vectors = ranking.vectors_of(bags)
    classes = np.arange(60) % 6
    ranking.fit(vectors[classes == 0].mean(0), vectors[classes != 0], classes[classes != 0].astype(str))
    assert ranking.others.shape == (5, 16)
    torch.testing.assert_close(ranking.share, torch.full((5,), 0.2))
    odds = ranking(bags)
    assert odds[classes == 0].min() > odds[classes != 0].max()


def test_bags_come_with_their_stamps_and_views():
    start = np.array([0, 2, 3])
    features = torch.arange(12.0).reshape(2, 3, 2)
    bags = FrozenBags(features, features[:, :, :1], start)
    got, geometry, valid = bags.batch(np.array([1, 0]))
    assert got.tolist() == [[4, 5], [0, 1], [2, 3]]
    assert geometry.tolist() == [[4], [0], [2]]
    assert valid.tolist() == [[True, False], [True, True]]
    # a view is drawn for a bag as a whole
    seen = {tuple(bags.batch(np.array([0]), np.random.default_rng(k))[0].ravel().tolist()) for k in range(20)}
    assert seen == {(0, 1, 2, 3), (6, 7, 8, 9)}
    np.testing.assert_allclose(bags.plain_means(), [[0, 1, 2, 3], [4, 5, 0, 0]])
