"""Shared test plumbing: the real images, and skips that a switch turns into failures."""

import os

import pytest
from astropy.utils import iers
from hypothesis import settings

from places import REAL
from trees import plant

iers.conf.auto_download = False
# `make test` draws the same examples every time; `make fuzz` looks for new ones
settings.register_profile("test", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=3000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))


@pytest.fixture(scope="session")
def real():
    """Folder of real images; the test is skipped, saying so, where it is absent."""
    if not REAL.is_dir():
        pytest.skip("the real images of ../shared/real are absent")
    return REAL


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A tree whose small run is done, for tests to copy."""
    tree = plant(tmp_path_factory.mktemp("finished") / "tree")
    tree.snakemake()
    return tree


@pytest.fixture
def tree(finished, tmp_path):
    """A fresh copy of the finished tree."""
    return finished.copy(tmp_path / "tree")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn skips into failures where NO_SKIPS=1, so that nothing is left out unseen."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("NO_SKIPS") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped although NO_SKIPS=1: {report.longrepr[-1]}"
