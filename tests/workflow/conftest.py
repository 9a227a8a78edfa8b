"""A finished small run that tests of the workflow copy."""

import pytest

from trees import plant


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A tree whose small run is done."""
    tree = plant(tmp_path_factory.mktemp("finished") / "tree")
    tree.snakemake()
    return tree


@pytest.fixture
def tree(finished, tmp_path):
    """A fresh copy of the finished tree."""
    return finished.copy(tmp_path / "tree")
