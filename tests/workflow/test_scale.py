"""A campaign of many shards: what new targets rerun, and what its jobs ask for."""

import re
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy_healpix import HEALPix

from trees import plant

TARGETS, SHARDS, MORE, INTO = 1000, 64, 100, 7
GRID = HEALPix(8, order="nested")
ROAD = ("targets", "render", "match", "segment", "measure", "features")
SCORES = ("score_colour", "score_classic", "score_fused")
#: stages that see the whole run
WHOLE = {"simulation", "expect", "coverage", "cards", "catalogue", "figures", "report", "crate"}
#: products that are folders
FOLDERS = ("models/colour", "models/classic", "models/fusion", "report/page", "results/code")
#: Snakemake, which otherwise sleeps a tenth of a second for each of hundreds of jobs that it touches
TOUCH = "import snakemake.executors.touch as t, snakemake.cli; t.Executor.SLEEPING_TIME = 0; snakemake.cli.main()"


def rows(n, cells, name, rng):
    """Lines of a target list, in turn in so many cells of the sky, well within them."""
    lon, lat = GRID.healpix_to_lonlat(cells[np.arange(n) % len(cells)])
    ra, dec = lon.deg + rng.uniform(-1, 1, n), lat.deg + rng.uniform(-1, 1, n)
    return "".join(f"{name}{k},{ra[k] % 360:.5f},{dec[k]:.5f},0.3,40\n" for k in range(n))


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A tree whose products are all there, empty, and recorded as made; and the cells of its shards."""
    lat = GRID.healpix_to_lonlat(np.arange(GRID.npix))[1]
    # far from the poles, where a degree of right ascension is one
    cells = np.flatnonzero(np.abs(lat) < 20 * u.deg)[::3][:SHARDS]
    text = "name,ra,dec,z,richness\n" + rows(TARGETS, cells, "T", np.random.default_rng(1))
    tree = plant(tmp_path_factory.mktemp("campaign") / "tree", targets=text)
    for line in tree.snakemake("--summary", "--quiet", "all").splitlines():
        path = line.split("\t")[0]
        if path.startswith("results/"):
            folder = path.endswith(FOLDERS)
            (tree.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (tree.folder / path).mkdir(exist_ok=True) if folder else (tree.folder / path).touch()
    touch = [sys.executable, "-c", TOUCH, *tree.command("--touch", "--forceall", "--quiet", "all")[3:]]
    subprocess.run(touch, cwd=tree.folder, env=tree.environment(), check=True, capture_output=True)
    return tree, cells


def test_targets_more_rerun_their_shards_and_the_stages_of_the_whole_run(campaign):
    """A hundred targets in seven shards of 64: with the models kept, no other shard is looked at."""
    tree, cells = campaign
    settings, before = (tree.folder / "small.yaml").read_text(), (tree.folder / "targets.csv").read_text()
    tree.configure(refit=False)
    tree.append("targets.csv", rows(MORE, cells[:INTO], "N", np.random.default_rng(2)))
    stale = tree.stale()
    assert stale == {**dict.fromkeys((*ROAD, *SCORES), INTO), **dict.fromkeys(WHOLE, 1)}
    # which shards: those that the targets fall in
    said = tree.snakemake("--dry-run")
    named = set(re.findall(r"results/mock/search/(hp8_\d+)/features\.parquet", "".join(outputs(said))))
    assert named == {f"hp8_{cell:05d}" for cell in cells[:INTO]}
    (tree.folder / "small.yaml").write_text(settings)
    (tree.folder / "targets.csv").write_text(before)


def test_stacks_that_were_deleted_to_save_space_rerun_nothing(campaign):
    tree, cells = campaign
    for name in ("matched.h5", "segments.h5"):
        (tree.folder / f"results/mock/search/hp8_{cells[-1]:05d}/{name}").unlink()
    assert tree.stale() == {}


def outputs(said):
    """What the jobs of a dry run would make."""
    return re.findall(r"^    output: (.*)$", said, re.MULTILINE)
