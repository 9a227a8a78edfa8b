"""Sidecars: beside every product a file ``<product>.prov.json`` that says what made it from what."""

import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

from tandemlens.base.atomic import sha256, write_text
from tandemlens.base.errors import InputError

SUFFIX = ".prov.json"
#: field that holds the digest of all the others
_SEAL = "seal"
_PACKAGES = (
    "snakemake",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "astropy",
    "photutils",
    "sep",
    "h5py",
    "reproject",
    "scikit-image",
    "scikit-learn",
    "lenstronomy",
    "speclite",
    "colossus",
    "xgboost",
    "xgboost-cpu",
    "optuna",
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "lightly",
    "torchmil",
    "diffusers",
    "matplotlib",
    "rocrate",
)


def sidecar_of(product: str | Path) -> Path:
    """Path of the sidecar of a product.

    Parameters
    ----------
    product : str or Path
        A file, or a folder that is one product.

    Returns
    -------
    Path
    """
    product = Path(product)
    return product.with_name(product.name + SUFFIX)


def files_of(folder: str | Path) -> dict[str, str]:
    """Files of a folder that is one product, without hidden ones.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    dict of str
        Path within the folder -> SHA-256, sorted.
    """
    folder = Path(folder)
    names = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return {n.as_posix(): sha256(folder / n) for n in sorted(names) if not any(p.startswith(".") for p in n.parts)}


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file, or of the listing of a folder (`files_of`) as ``sha256sum`` would print it.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    str
    """
    return digest_of_files(files_of(path)) if Path(path).is_dir() else sha256(path)


def digest_of_files(files: dict[str, str]) -> str:
    """Digest of a folder whose files have these digests; see `digest_of`.

    Parameters
    ----------
    files : dict of str
        Path within the folder -> SHA-256.

    Returns
    -------
    str
    """
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def job_facts(
    rule: str,
    started: float,
    outputs: Iterable[str],
    inputs: dict[str, str],
    wildcards: dict[str, Any] | None = None,
    code: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What a job says in the sidecars of all its products.

    Parameters
    ----------
    rule : str
    started : float
        Unix time at which the job began, s.
    outputs : iterable of str
        All its products.
    inputs : dict of str
        Path -> digest (`digest_of`) of every file and folder that it read, answers of services among them.
    wildcards, code, settings : dict, optional
        Wildcards, parameter ``code`` and parameter ``cfg`` of the rule.

    Returns
    -------
    dict
    """
    return {
        "rule": rule,
        "wildcards": wildcards or {},
        "outputs": list(map(str, outputs)),
        "code": code,
        "commit": _git_state(),
        "settings": settings,
        "inputs": inputs,
        "versions": _versions(),
        "python": platform.python_version(),
        "host_class": f"{platform.system()} {platform.machine()}",
        "device": _device(),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 3),
    }


def write_sidecar(product: str | Path, facts: dict[str, Any]) -> None:
    """Write the sidecar of a product.

    Parameters
    ----------
    product : str or Path
        An existing file, or a folder that is one product: then the sidecar lists its files.
    facts : dict
        Of `job_facts`.
    """
    product = Path(product)
    own: dict[str, Any] = {"product": product.name}
    if product.is_dir():
        own["files"] = files_of(product)
        own["sha256"] = digest_of_files(own["files"])
    else:
        own["sha256"] = sha256(product)
    # what JSON makes of it is what is sealed
    plain = json.loads(json.dumps({**facts, **own}, default=str))
    write_text(sidecar_of(product), _text({**plain, _SEAL: _seal(plain)}))


def read_sidecar(product: str | Path) -> dict[str, Any]:
    """What the sidecar of a product says.

    Parameters
    ----------
    product : str or Path

    Returns
    -------
    dict
        As `job_facts`, with ``product``, ``sha256``, for a folder ``files``, and ``seal``.

    Raises
    ------
    InputError
        If the sidecar is missing, no JSON, or not as it was written.
    """
    path = sidecar_of(product)
    try:
        text = path.read_text(encoding="utf-8")
        facts = json.loads(text)
        sealed = facts[_SEAL]
    except FileNotFoundError:
        raise InputError(f"{product} has no sidecar {path.name}; make the product anew") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"sidecar {path} cannot be read ({type(error).__name__}: {error}); make the product anew"
        ) from error
    plain = {key: value for key, value in facts.items() if key != _SEAL}
    if sealed != _seal(plain) or text != _text(facts):
        raise InputError(f"sidecar {path} is not as it was written; make the product anew")
    return facts


def code_version(code: dict[str, str] | None) -> str:
    """One digest of the digests of a script and its modules.

    Parameters
    ----------
    code : dict of str or None

    Returns
    -------
    str
        16 hexadecimal digits; empty without code.
    """
    return hashlib.sha256(_text(code).encode()).hexdigest()[:16] if code else ""


def _text(facts: dict[str, Any]) -> str:
    return json.dumps(facts, indent=1, sort_keys=True)


def _seal(facts: dict[str, Any]) -> str:
    return hashlib.sha256(_text(facts).encode()).hexdigest()


@cache
def _git_state() -> dict[str, Any]:
    root = Path(__file__).parents[4]
    try:
        run = partial(subprocess.run, cwd=root, capture_output=True, text=True, check=True, timeout=20)
        commit = run(["git", "rev-parse", "HEAD"]).stdout.strip()
        dirty = bool(run(["git", "status", "--porcelain", "-uno"]).stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return {"id": None, "dirty": None}
    return {"id": commit, "dirty": dirty}


def _device() -> str:
    """What the job computed on, without importing torch where it did not."""
    torch = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_initialized() else "cpu"


@cache
def _versions() -> dict[str, str]:
    out = {}
    for name in _PACKAGES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out
