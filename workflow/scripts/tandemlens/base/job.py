"""Job plumbing of every script: log, progress, one-sentence errors and provenance sidecars."""

import logging
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from tandemlens.base.atomic import use_scratch
from tandemlens.base.errors import TandemlensError, of_the_machine
from tandemlens.base.intact import intact_inputs
from tandemlens.base.secrets import RedactingFormatter, redact
from tandemlens.base.sidecar import job_facts, write_sidecar

log = logging.getLogger("tandemlens")
_PROGRESS_SECONDS = 10.0


@contextmanager
def job(snakemake: Any, some_of: Sequence[str] = ()) -> Iterator["_Progress"]:
    """Run a stage: log to the job's log file, say errors in one sentence, write sidecars at the end.

    Parameters
    ----------
    snakemake : snakemake.script.Snakemake
        The object that Snakemake gives to scripts.
    some_of : sequence of str
        Names of inputs of which the stage opens a few among many, and says which by ``progress.open``; the others are
        neither hashed nor told by the sidecars.

    Yields
    ------
    _Progress
        ``progress(done, total)`` logs at most every 10 s; ``progress.inputs`` has path -> digest of the inputs of the
        rule (`intact_inputs`), and ``progress.read`` takes that of what the stage reads beside them.
    """
    started = time.time()
    _start_log(snakemake.log[0] if snakemake.log else os.devnull, snakemake.rule)
    progress = _Progress(snakemake.rule)
    use_scratch(tempfile.gettempdir() if snakemake.resources.get("scratch") else None)
    try:
        among = {path for name in some_of for path in snakemake.input.get(name)}
        progress.inputs = intact_inputs(path for path in snakemake.input if path not in among)
        yield progress
        _write_sidecars(snakemake, started, {**progress.inputs, **progress.read})
    except Exception as error:
        known = isinstance(error, TandemlensError)
        log.error("%s: %s", snakemake.rule, error if known else f"{type(error).__name__}: {error}")
        log.debug("%s", traceback.format_exc())
        where = f" (details in {snakemake.log[0]})" if snakemake.log else ""
        said = str(error) if known else f"{type(error).__name__}: {error}"
        said += "; nothing was recorded of it, so run the same command again once it is mended" * of_the_machine(error)
        sys.exit(redact(f"tandemlens {snakemake.rule}: {said}{where}"))
    log.info("%s: done in %.1f s%s", snakemake.rule, time.time() - started, _most_memory())


def _start_log(path: str, rule: str) -> None:
    log.handlers.clear()
    log.setLevel(logging.DEBUG)
    log.propagate = False
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.info("%s: start", rule)


def _most_memory() -> str:
    """The most memory that the process has held, in words; nothing where the kernel does not say.

    getrusage would count what the process held that started this one.
    """
    try:
        with open("/proc/self/status", encoding="utf-8") as handle:
            found = re.search(r"VmHWM:\s+(\d+) kB", handle.read())
    except OSError:
        return ""
    return f", at most {int(found[1]) / 2**20:.2f} GiB" if found else ""


class _Progress:
    """What a stage says while it works.

    Called as ``progress(done, total)``, it logs at most every 10 s. `inputs` has path -> digest of what the rule names,
    and `read` takes that of files that the stage found by itself, for its sidecars.
    """

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._started = self._last = time.monotonic()
        self.inputs: dict[str, str] = {}
        self.read: dict[str, str] = {}

    def open(self, paths: Iterable[str]) -> None:
        """Check inputs before they are opened, and have the sidecars tell them."""
        self.read |= intact_inputs(path for path in paths if path not in self.read)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _PROGRESS_SECONDS or done == total:
            self._last = now
            log.info("%s: %d of %d", self._rule, done, total)
            # a line of its own each time: jobs that run side by side would write over each other's bar
            print(tqdm.format_meter(done, total, now - self._started, ncols=79, prefix=self._rule), file=sys.stderr)


def _write_sidecars(snakemake: Any, started: float, inputs: dict[str, str]) -> None:
    params = dict(snakemake.params.items())
    facts = job_facts(
        snakemake.rule,
        started,
        snakemake.output,
        inputs,
        wildcards=dict(snakemake.wildcards.items()),
        code=params.get("code"),
        settings=params.get("cfg"),
    )
    for output in snakemake.output:
        write_sidecar(output, facts)
