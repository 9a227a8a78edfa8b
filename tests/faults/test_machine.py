"""Faults of the machine: each is said, none ends in the catalogue, and the same command, run again, mends it."""

import os
import resource
import time

ROAD = "results/mock/search"


def shard(tree):
    """The folder of the shard with most targets."""
    return max((tree.folder / ROAD).glob("hp*"), key=lambda f: (f / "cutouts.h5").stat().st_size)


def limited(what, size):
    return lambda: resource.setrlimit(what, (size, size))


def unmake(tree):
    """Take the matched images of a shard away and make them wanted again."""
    (shard(tree) / "matched.h5").unlink()
    os.utime(shard(tree) / "cutouts.h5")


def test_a_full_disk_is_said_and_leaves_nothing_half_written(finished, tree):
    unmake(tree)
    # no file may grow beyond 300 kB: what a writer meets on a full disk, without filling one
    assert tree.attempt(preexec_fn=limited(resource.RLIMIT_FSIZE, 300_000)).returncode != 0
    assert "File too large" in tree.said
    assert not (shard(tree) / "matched.h5").exists()
    tree.snakemake()
    assert not list(shard(tree).glob(".*.*"))
    assert tree.catalogue() == finished.catalogue()


def test_memory_that_runs_out_ends_the_job_and_no_target(finished, tree):
    unmake(tree)
    failed = tree.attempt("--", "results/catalogue/candidates.csv", preexec_fn=limited(resource.RLIMIT_AS, 420_000_000))
    assert failed.returncode != 0
    tree.snakemake()
    assert tree.catalogue() == finished.catalogue()


def test_a_folder_that_cannot_be_written_is_said(finished, tree):
    unmake(tree)
    folders = [f for f in (tree.folder / "results").rglob("*") if f.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    # root writes where it likes unless it gives up that right
    under = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override") if os.geteuid() == 0 else ()
    assert tree.attempt(under=under).returncode != 0
    assert "Write-protected output files" in tree.said
    for folder in folders:
        folder.chmod(0o755)
    tree.snakemake()
    assert tree.catalogue() == finished.catalogue()


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def test_damaged_products_are_named_set_aside_and_made_again(finished, tree):
    weights = sorted(p for p in (tree.folder / "results/models/classic").glob("*") if not p.name.endswith(".prov.json"))
    flip(shard(tree) / "matched.h5")
    cut(shard(tree) / "features.parquet")
    flip(weights[-1])
    runs = 0
    while tree.attempt("--keep-going").returncode != 0:
        assert "changed since it was made" in tree.said
        runs += 1
        assert runs <= 3
    assert runs
    assert tree.catalogue() == finished.catalogue()
    assert (shard(tree) / "matched.h5.damaged").exists()


def test_a_clock_that_jumped_costs_reruns_only(finished, tree):
    tomorrow = time.time() + 86400
    os.utime(shard(tree) / "segments.parquet", (tomorrow, tomorrow))
    tree.snakemake()
    assert tree.catalogue() == finished.catalogue()
