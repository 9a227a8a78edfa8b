"""Methods, section 8: attention over the stamps of a system, whatever their order and number."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torchmil.nn import MultiheadSelfAttention, masked_softmax

from tandemlens.learn.pooling import BagPooling, create_classifier, log_odds

WIDTH, N_GEOMETRY = 16, 3
SETTINGS = {"width": 32, "layers": 0, "dropout": 0.0}
LAYERS = pytest.mark.parametrize("layers", [0, 2])


class Mean(nn.Module):
    """Means of 4 bands, as an encoder whose features are known; counts what it sees."""

    width = 4

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, stamps):
        self.seen += len(stamps)
        return stamps.mean((2, 3))


def pooling(layers):
    torch.manual_seed(0)
    return BagPooling(WIDTH, layers).eval()


def classifier(layers=0, seed=0, n=50):
    geometry = np.random.default_rng(1).normal(3, 2, (n, N_GEOMETRY))
    return create_classifier(Mean(), geometry, {**SETTINGS, "layers": layers}, 2, np.random.default_rng(seed)).eval()


def bags(counts, seed=0, most=None):
    """Features (b, k, width) and which places hold a stamp."""
    torch.manual_seed(seed)
    valid = torch.arange(most or max(counts)) < torch.tensor(counts)[:, None]
    return torch.randn(*valid.shape, WIDTH), valid


def stamps(counts, seed=0):
    torch.manual_seed(seed)
    valid = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    return torch.randn(sum(counts), 4, 5, 5), torch.randn(sum(counts), N_GEOMETRY), valid


@LAYERS
def test_attention_is_a_share_of_every_stamp(layers):
    features, valid = bags([1, 4, 7])
    pooled, attention = pooling(layers)(features, valid)
    torch.testing.assert_close(attention.sum(1), torch.ones(3), atol=1e-6, rtol=0)
    assert (attention[valid] > 0).all()
    assert (attention[~valid] == 0).all()
    assert pooled.shape == (3, WIDTH)


def test_gated_attention_is_that_of_the_paper():
    """Ilse et al. 2018, equation 9, written out."""
    features, valid = bags([5])
    net = pooling(0)
    pooled, attention = net(features, valid)
    state = {name.replace("attention.", ""): value for name, value in net.state_dict().items()}
    gate = torch.sigmoid(features[0] @ state["fc_gated.module.weight"].T + state["fc_gated.module.bias"])
    value = torch.tanh(features[0] @ state["fc1.module.weight"].T + state["fc1.module.bias"])
    wanted = torch.softmax((gate * value) @ state["fc2.weight"][0], 0)
    assert state["fc1.module.weight"].shape == (128, WIDTH)
    torch.testing.assert_close(attention[0], wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(pooled[0], wanted @ features[0], atol=1e-6, rtol=0)


@LAYERS
def test_order_does_not_matter(layers):
    x, geometry, valid = stamps([6])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    net = classifier(layers)
    logit, attention, _ = net(x, geometry, valid)
    turned, attention_turned, _ = net(x[order], geometry[order], valid)
    torch.testing.assert_close(turned, logit, atol=1e-6, rtol=0)
    torch.testing.assert_close(attention_turned[0], attention[0, order], atol=1e-6, rtol=0)
    # and a stamp more does
    assert (net(x[:5], geometry[:5], valid[:, :5])[0] - logit).abs() > 1e-4


@LAYERS
@pytest.mark.parametrize("garbage", [1e6, torch.nan, torch.inf])
def test_padding_does_not_matter(layers, garbage):
    features, valid = bags([3])
    net = pooling(layers)
    pooled, attention = net(features, valid)
    wide = torch.full((1, 9, WIDTH), garbage)
    wide[:, :3] = features
    padded, attention_padded = net(wide, torch.arange(9)[None] < 3)
    torch.testing.assert_close(padded, pooled, atol=1e-6, rtol=0)
    torch.testing.assert_close(attention_padded[:, :3], attention, atol=1e-6, rtol=0)


@LAYERS
def test_a_system_has_one_score_in_any_company(layers):
    x, geometry, valid = stamps([2, 7, 4])
    net = classifier(layers)
    together = net(x, geometry, valid)[0]
    assert net.encoder.seen == 13
    for k, rows in enumerate(torch.split(torch.arange(13), [2, 7, 4])):
        alone = net(x[rows], geometry[rows], torch.ones(1, len(rows), dtype=torch.bool))[0]
        torch.testing.assert_close(alone[0], together[k], atol=1e-6, rtol=0)


def test_log_odds_of_the_first_class_are_those_of_the_softmax():
    scores = torch.tensor([[1.0, -2.0, 0.5], [8.0, 0.0, 0.0]], dtype=torch.float64)
    p = scores.softmax(1)[:, 0]
    torch.testing.assert_close(log_odds(scores), (p / (1 - p)).log(), atol=1e-9, rtol=0)
    torch.testing.assert_close(log_odds(scores[:, :2]), scores[:, 0] - scores[:, 1])


def test_a_single_stamp_is_all_there_is():
    x, geometry, valid = stamps([1])
    net = classifier()
    logit, attention, _ = net(x, geometry, valid)
    assert attention.tolist() == [[1.0]]
    wanted = -net.classifier(net.describe_stamps(x, geometry)).diff(dim=1)[0]
    torch.testing.assert_close(logit, wanted, atol=1e-6, rtol=0)


@LAYERS
def test_no_gradient_goes_to_padding(layers):
    features, valid = bags([2, 5])
    features.requires_grad_()
    pooled, attention = pooling(layers)(features, valid)
    (pooled.square().sum() + attention.square().sum()).backward()
    assert (features.grad[~valid] == 0).all()
    assert (features.grad[valid].abs().sum(-1) > 0).all()


@LAYERS
def test_an_empty_bag_is_zero_and_harms_no_other(layers):
    features, valid = bags([4, 0, 2])
    features.requires_grad_()
    net = pooling(layers)
    pooled, attention = net(features, valid)
    assert (pooled[1] == 0).all()
    assert (attention[1] == 0).all()
    torch.testing.assert_close(pooled[0], net(features[:1], valid[:1])[0][0], atol=1e-6, rtol=0)
    pooled.square().sum().backward()
    assert torch.isfinite(features.grad).all()
    # what is mended of torchmil
    assert torch.isnan(masked_softmax(torch.zeros(1, 3), torch.zeros(1, 3))).all()


def test_layers_let_stamps_see_each_other():
    """Without them the pooled vector is a mean of the stamps, each as it is alone; with them it is not."""
    features, valid = bags([2])
    other = features.clone()
    other[0, 1] = -features[0, 1]
    alone = torch.tensor([[True, False]])
    seen = [pooling(2).transformer(x, src_key_padding_mask=~m)[0, 0] for x, m in ((features, valid), (other, valid))]
    assert (seen[0] - seen[1]).abs().max() > 1e-2
    hidden = [pooling(2).transformer(x, src_key_padding_mask=~alone)[0, 0] for x in (features, other)]
    torch.testing.assert_close(hidden[0], hidden[1], atol=1e-6, rtol=0)
    assert pooling(0).transformer is None


def test_layers_of_torchmil_drop_out_while_scoring():
    """Why the transformer layers are torch's: were this mended, theirs could be used."""
    torch.manual_seed(0)
    theirs = MultiheadSelfAttention(WIDTH, WIDTH, WIDTH, n_heads=4, dropout=0.5).eval()
    features, valid = bags([5])
    assert not torch.allclose(theirs(features, valid), theirs(features, valid))
    ours = BagPooling(WIDTH, 2, dropout=0.5).eval()
    torch.testing.assert_close(ours(features, valid)[0], ours(features, valid)[0], atol=0, rtol=0)


def test_geometry_is_standardised_and_gaps_are_the_mean():
    geometry = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, 2.0], [np.nan, 5.0, 4.0]])
    net = create_classifier(Mean(), geometry, SETTINGS, 2, np.random.default_rng(0)).eval()
    torch.testing.assert_close(net.centre, torch.tensor([2.0, 5.0, 3.0]))
    torch.testing.assert_close(net.spread, torch.tensor([1.0, 1.0, 1.0]))
    x = torch.zeros(2, 4, 5, 5)
    described = net.describe_stamps(x, torch.tensor([[2.0, 5.0, 3.0], [np.nan, np.inf, np.nan]]))
    torch.testing.assert_close(described[0], described[1])


def test_weights_come_from_the_seed_and_leave_the_state_of_torch():
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    a, b, c = (classifier(seed=s).state_dict() for s in (0, 0, 1))
    torch.testing.assert_close(torch.rand(2), wanted)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["classifier.weight"], c["classifier.weight"])


def toy(n, rng):
    """Bags of 3 to 8 stamps; a positive one holds a single stamp of another mean in two bands."""
    counts, labels = rng.integers(3, 9, n), np.arange(n) % 2 == 0
    x = rng.normal(0, 1, (counts.sum(), 4, 5, 5)).astype(np.float32) / 2
    witness = np.cumsum(counts) - counts + rng.integers(0, counts)
    x[witness[labels], :2] += 0.6
    valid = torch.arange(8) < torch.tensor(counts)[:, None]
    geometry = torch.from_numpy(rng.normal(size=(counts.sum(), N_GEOMETRY)).astype(np.float32))
    return torch.from_numpy(x), geometry, valid, labels, witness


@LAYERS
def test_toy_bags_are_told_apart_by_their_one_stamp(layers):
    rng = np.random.default_rng(7)
    net = classifier(layers).train()
    x, geometry, valid, labels, _ = toy(200, rng)
    optimiser = torch.optim.AdamW(net.parameters(), 5e-3, weight_decay=0.05)
    for _ in range(60):
        loss = nn.functional.binary_cross_entropy_with_logits(net(x, geometry, valid)[0], torch.tensor(labels).float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, geometry, valid, labels, witness = toy(200, rng)
    with torch.no_grad():
        logits, attention, _ = net.eval()(x, geometry, valid)
    assert roc_auc_score(labels, logits) > 0.95
    # layers mix the stamps, and attention no longer tells where the evidence is
    if not layers:
        assert attention[valid].numpy()[witness[labels]].mean() > 0.5
