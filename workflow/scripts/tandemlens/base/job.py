"""Job plumbing of every script: log, progress, one-sentence errors and provenance sidecars."""

import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from tandemlens.base.atomic import sha256, use_scratch, write_text
from tandemlens.base.errors import TandemlensError, of_the_machine
from tandemlens.base.intact import SIDECAR, intact_inputs
from tandemlens.base.secrets import RedactingFormatter, redact

log = logging.getLogger("tandemlens")
_PROGRESS_SECONDS = 10.0


@contextmanager
def job(snakemake):
    """Run a stage: log to the job's log file, say errors in one sentence, write sidecars at the end.

    Parameters
    ----------
    snakemake : snakemake.script.Snakemake
        The object that Snakemake gives to scripts.

    Yields
    ------
    callable
        ``progress(done, total)``, which logs at most every 10 s.
    """
    started = time.time()
    _start_log(snakemake.log[0] if snakemake.log else os.devnull, snakemake.rule)
    use_scratch(tempfile.gettempdir() if snakemake.resources.get("scratch") else None)
    try:
        inputs = intact_inputs(snakemake.input)
        yield _progress_logger(snakemake.rule)
        for output in snakemake.output:
            write_sidecar(output, snakemake, started, inputs)
    except Exception as error:
        known = isinstance(error, TandemlensError)
        log.error("%s: %s", snakemake.rule, error if known else f"{type(error).__name__}: {error}")
        log.debug("%s", traceback.format_exc())
        where = f" (details in {snakemake.log[0]})" if snakemake.log else ""
        said = str(error) if known else f"{type(error).__name__}: {error}"
        said += "; nothing was recorded of it, so run the same command again once it is mended" * of_the_machine(error)
        sys.exit(redact(f"tandemlens {snakemake.rule}: {said}{where}"))
    log.info("%s: done in %.1f s", snakemake.rule, time.time() - started)


def write_sidecar(output, snakemake, started, inputs):
    """Write ``<output>.prov.json``: what made this file from what.

    Parameters
    ----------
    output : str or Path
        An existing product; each file of a folder gets its own sidecar.
    snakemake : snakemake.script.Snakemake
    started : float
        Unix time at which the job began, s.
    inputs : dict of str
        Path of every input file -> its SHA-256.
    """
    path = Path(output)
    if path.is_dir():
        for file in sorted(p for p in path.iterdir() if not p.name.endswith(SIDECAR)):
            write_sidecar(file, snakemake, started, inputs)
        return
    params = dict(snakemake.params.items())
    facts = {
        "product": path.name,
        "sha256": sha256(path),
        "rule": snakemake.rule,
        "wildcards": dict(snakemake.wildcards.items()),
        "code": params.get("code"),
        "commit": _git_state(),
        "settings": params.get("cfg"),
        "inputs": inputs,
        "versions": _versions(),
        "python": platform.python_version(),
        "host_class": f"{platform.system()} {platform.machine()}",
        "device": _device(),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 3),
    }
    write_text(path.with_name(path.name + SIDECAR), json.dumps(facts, indent=1, sort_keys=True, default=str))


def _start_log(path, rule):
    log.handlers.clear()
    log.setLevel(logging.DEBUG)
    log.propagate = False
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.info("%s: start", rule)


def _progress_logger(rule):
    started = time.monotonic()
    last = [started]

    def progress(done, total):
        now = time.monotonic()
        if now - last[0] >= _PROGRESS_SECONDS or done == total:
            last[0] = now
            log.info("%s: %d of %d", rule, done, total)
            # a line of its own each time: jobs that run side by side would write over each other's bar
            print(tqdm.format_meter(done, total, now - started, ncols=79, prefix=rule), file=sys.stderr)

    return progress


@cache
def _git_state():
    root = Path(__file__).parents[4]
    try:
        run = {"cwd": root, "capture_output": True, "text": True, "check": True, "timeout": 20}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()
        dirty = bool(subprocess.run(["git", "status", "--porcelain", "-uno"], **run).stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return {"id": None, "dirty": None}
    return {"id": commit, "dirty": dirty}


def _device():
    """What the job computed on, without importing torch where it did not."""
    torch = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_initialized() else "cpu"


@cache
def _versions():
    wanted = ("numpy", "scipy", "pandas", "pyarrow", "astropy", "photutils", "sep", "h5py", "snakemake")
    wanted += ("scikit-learn", "xgboost", "xgboost-cpu", "torch", "timm")
    out = {}
    for name in wanted:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            out[name] = None
    return out
