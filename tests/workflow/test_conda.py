"""Stages in their own environments, with a stand-in for conda: see `conda_standin`."""

import pytest
from conda_standin import install


@pytest.fixture
def conda(tmp_path, monkeypatch):
    folder = install(tmp_path / "conda")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def environments(tree):
    """First lines of the environments that were made -> how often their Python was used."""
    made = {}
    for file in (tree.folder / ".snakemake/conda").glob("*_.yaml"):
        used = (file.with_suffix("") / "used").read_text().count("used")
        names = [path.stem for path in (tree.folder / "envs").iterdir() if path.read_text() == file.read_text()]
        made[names[0]] = used
    return made


def test_stages_run_in_the_environments_that_they_name(tree, conda):
    before = (tree.folder / "results/catalogue/candidates.csv").read_bytes()
    # the environments alone make nothing stale here: what is made anew is named
    options = ("--use-conda", "--rerun-triggers", "mtime", "--forcerun", "evaluate", "catalogue")
    tree.snakemake(*options)
    used = environments(tree)
    assert used.keys() == {"sky", "learn", "report"}
    assert min(used.values()) > 0
    assert (tree.folder / "results/catalogue/candidates.csv").read_bytes() == before


def test_every_environment_can_be_made_before_a_run(tree, conda):
    tree.configure(heads=["colour", "classic", "mil"])
    tree.snakemake("--use-conda", "--conda-create-envs-only")
    assert environments(tree) == dict.fromkeys(("sky", "learn", "report", "deep"), 0)


def test_an_environment_with_another_version_is_refused(tree, conda):
    tree.edit("envs/report.yaml", "jinja2 =3.1", "jinja2 =2.9")
    with pytest.raises(AssertionError, match=r"jinja2 2\.9 \(here is 3\.1"):
        tree.snakemake("--use-conda", "--conda-create-envs-only", "--forceall")
