"""Changed inputs are set aside, stale locks go, errors of the machine are told from those of a target."""

import errno
import logging
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from places import ROOT
from tandemlens.base.atomic import sha256
from tandemlens.base.errors import DataError, InputError, of_the_machine
from tandemlens.base.intact import intact_inputs
from tandemlens.base.job import job
from tandemlens.base.sidecar import job_facts, read_sidecar, write_sidecar
from tandemlens.base.stage import run_targets


def product(path, text="whole"):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return made(path)


def made(path):
    write_sidecar(path, job_facts("a_rule", time.time(), [path], {}))
    return path


def test_what_is_as_made_goes_through_with_its_digest(tmp_path):
    path, own = product(tmp_path / "a.parquet"), tmp_path / "list.csv"
    own.write_text("of the user")
    assert intact_inputs([str(path), str(own), str(path)]) == {str(path): sha256(path), str(own): sha256(own)}


def test_a_changed_file_is_set_aside_by_name(tmp_path):
    path = product(tmp_path / "a.h5")
    path.write_text("whale")
    with pytest.raises(InputError, match=r"a\.h5: changed since it was made .* run the same command again"):
        intact_inputs([str(path)])
    assert not path.exists()
    assert (tmp_path / "a.h5.damaged").read_text() == "whale"


def test_a_folder_goes_as_a_whole_and_all_are_named(tmp_path):
    weights = tmp_path / "model/weights.bin"
    weights.parent.mkdir()
    weights.write_text("whole")
    (tmp_path / "model/model.json").write_text("{}")
    made(weights.parent)
    other = product(tmp_path / "b.h5")
    weights.write_text("x")
    other.write_text("y")
    with pytest.raises(InputError, match=r"model, .*b\.h5: changed"):
        intact_inputs([str(weights.parent), str(other)])
    assert not weights.parent.exists()
    assert (tmp_path / "model.damaged/model.json").exists()


class Given(dict):
    """Inputs as Snakemake gives them: all in turn, and some by a name."""

    def __iter__(self):
        return (path for paths in self.values() for path in paths)


@pytest.fixture
def logger():
    """The logger of the library, which a job sets up for itself, as it was before."""
    log = logging.getLogger("tandemlens")
    before = log.handlers[:], log.level, log.propagate
    yield
    for handler in log.handlers:
        handler.close()
    log.handlers[:], log.level, log.propagate = before


@pytest.mark.usefixtures("logger")
def test_of_some_inputs_only_those_that_are_opened_are_told(tmp_path):
    """A stage that opens one shard of many neither hashes the others nor says that it is made of them."""
    one, two, rest = (str(product(tmp_path / name)) for name in ("one.h5", "two.h5", "rest.parquet"))
    Path(two).write_text("damaged, and never looked at")
    given = Given({"stacks": [one, two], "rest": [rest]})
    out, log = str(tmp_path / "out.html"), [str(tmp_path / "log")]
    parts = {"input": given, "output": [out], "params": {}, "wildcards": {}, "resources": {}}
    with job(SimpleNamespace(rule="page", log=log, **parts), ["stacks"]) as progress:
        assert set(progress.inputs) == {rest}
        progress.open([one])
        with pytest.raises(InputError, match=r"two\.h5: changed since it was made"):
            progress.open([two])
        Path(out).write_text("made")
    assert read_sidecar(out)["inputs"] == {path: sha256(path) for path in (rest, one)}
    said = (tmp_path / "log").read_text()
    assert re.search(r"page: done in [\d.]+ s, at most [\d.]+ GiB", said)


@pytest.mark.parametrize("sidecar", ["", "{", "[]", '{"no": "digest"}'])
def test_a_file_without_a_readable_sidecar_is_taken_as_it_is(tmp_path, sidecar):
    path = product(tmp_path / "a.h5")
    path.with_name("a.h5.prov.json").write_text(sidecar)
    assert list(intact_inputs([str(path)])) == [str(path)]


def locks(folder):
    (folder / "locks").mkdir(parents=True)
    for name in ("0.input.lock", "0.output.lock"):
        (folder / "locks" / name).write_text("results/a\n")
    return folder


HOLD = "import sys; from tandemlens.base.locks import drop_stale_locks as d; print(d(sys.argv[1]), flush=True); input()"


def other(folder):
    """Another process that says how many locks it dropped and lives until it is told."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env={"PYTHONPATH": str(ROOT / "workflow/scripts")}, **pipes)
    return process, int(process.stdout.readline())


def test_locks_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    folder = locks(tmp_path / ".snakemake")
    first, dropped = other(folder)
    assert dropped == 2
    (folder / "locks/0.input.lock").write_text("results/b\n")
    second, dropped = other(folder)
    assert dropped == 0
    assert (folder / "locks/0.input.lock").exists()
    for process in (first, second):
        process.kill()
        process.communicate()
    third, dropped = other(folder)
    assert dropped == 1
    third.communicate("")


def test_errors_of_the_machine_are_told_from_those_of_a_target():
    assert of_the_machine(MemoryError())
    assert of_the_machine(OSError(errno.ENOSPC, "No space left on device"))
    assert not of_the_machine(FileNotFoundError(errno.ENOENT, "no such file"))
    assert not of_the_machine(ValueError("bad"))


@pytest.mark.parametrize("fault", [MemoryError(), OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "disk")])
def test_a_full_disk_is_no_status_of_a_target(fault):
    def work(index, target_id):
        raise fault if index == 1 else DataError("masked", "nothing to see")

    with pytest.raises(type(fault)):
        run_targets(["a", "b"], work, lambda done, total: None)
    assert list(run_targets(["a"], work, lambda done, total: None)["status"]) == ["masked"]
