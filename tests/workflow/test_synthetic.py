"""What the generative stages add to a run, and only where something asks for them."""

from test_rerun import ALL, FUSED

#: of the training sample, which has one shard
MADE = {"generator": 1, "augment": 1, "generator_checks": 1, "generator_page": 1}


def test_synthetic_systems_are_made_where_a_head_asks_for_them(tree):
    tree.configure(heads=["colour", "classic", "mil"], mil={"synthetic": True})
    assert tree.stale() == {"stamps": ALL, **MADE, "fit_mil": 1, "score_mil": ALL, **FUSED}


def test_synthetic_positives_are_made_for_clsp(tree):
    tree.configure(heads=["colour", "classic", "proto"], pretrain={"method": "clsp"})
    made = {"stamps": ALL, "generator": 1, "positives": 1, "pretrain": 1}
    assert tree.stale() == {**made, "fit_proto": 1, "score_proto": ALL, **FUSED}
