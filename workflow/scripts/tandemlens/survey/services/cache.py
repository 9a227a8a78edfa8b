"""What services answered, kept under a name made of what was asked; only whole and checked answers get in."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from tandemlens.base.atomic import atomic_path, sha256, write_text

#: hexadecimal digits that tell the locks of the cache apart: two of 4096 rarely meet
_LOCK_DIGITS = 3


@dataclass(frozen=True)
class Answer:
    """A kept answer.

    Parameters
    ----------
    path : Path
    bytes : int
    sha256 : str
    tries : int
        Requests that it took now; 0 if it was there.
    """

    path: Path
    bytes: int
    sha256: str
    tries: int = 0


class Cache:
    """A folder of answers.

    Parameters
    ----------
    folder : str or Path
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        #: what this process has hashed: path -> state of the file then, and its digest
        self._hashed: dict[Path, tuple[tuple[int, int, int], str]] = {}

    @contextmanager
    def lock(self, key: dict[str, Any]) -> Iterator[Any]:
        """Hold a key, so that nobody else asks for it meanwhile, in this process or another."""
        path = self._folder / "locks" / _digest(key)[:_LOCK_DIGITS]
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path, poll_interval=0.02):
            yield

    def find(self, key: dict[str, Any], suffix: str) -> Answer | None:
        """The answer to a question, if it is there and unspoiled.

        Parameters
        ----------
        key : dict
            What was asked: service, release, product, band, place, size, ...
        suffix : str

        Returns
        -------
        Answer or None
        """
        path = self._path(key, suffix)
        try:
            facts = json.loads(_facts(path).read_text())
            found = Answer(path, os.stat(path).st_size, self._digest_of(path))
        except (OSError, ValueError):
            return None
        return found if found.sha256 == facts.get("sha256") else None

    def _digest_of(self, path: Path) -> str:
        """SHA-256 of a file, which many targets of a brick share; read again only if the file has changed."""
        found = os.stat(path)
        state = found.st_mtime_ns, found.st_size, found.st_ino
        if path not in self._hashed or self._hashed[path][0] != state:
            self._hashed[path] = state, sha256(path)
        return self._hashed[path][1]

    def keep(self, key: dict[str, Any], suffix: str, temporary: Path, tries: int, url: str) -> Answer:
        """Move a checked answer into the cache; its facts come last and make it count.

        Parameters
        ----------
        key : dict
        suffix : str
        temporary : Path
            On the same file system (`temporary`).
        tries : int
        url : str
            Without secrets.

        Returns
        -------
        Answer
        """
        path = self._path(key, suffix)
        _facts(path).unlink(missing_ok=True)
        answer = Answer(path, os.stat(temporary).st_size, sha256(temporary), tries)
        with atomic_path(path) as staged:
            os.replace(temporary, staged)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        facts = {"key": key, "url": url, "bytes": answer.bytes, "sha256": answer.sha256, "fetched": now}
        write_text(_facts(path), json.dumps(facts, indent=1, sort_keys=True))
        return answer

    def temporary(self, key: dict[str, Any], suffix: str) -> Path:
        """A name for an answer that is on its way.

        Parameters
        ----------
        key : dict
        suffix : str

        Returns
        -------
        Path
        """
        path = self._path(key, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        # the lock of the key is held, and what a killed job left is written over
        return path.with_name(f".part.{path.name}")

    def _path(self, key: dict[str, Any], suffix: str) -> Path:
        digest = _digest(key)
        return self._folder / key["service"] / digest[:2] / f"{digest}{suffix}"


def _digest(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def _facts(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
