"""A finished small run that a test may change."""

import pytest


@pytest.fixture
def tree(finished, tmp_path):
    """A fresh copy of the finished tree."""
    return finished.copy(tmp_path / "tree")
