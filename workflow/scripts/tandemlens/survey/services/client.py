"""One polite way to ask a service: bounded connections, patience, budgets, checks, and nothing asked twice."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from tandemlens.base.errors import DataError
from tandemlens.base.secrets import redact
from tandemlens.survey.services.cache import Cache

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from tandemlens.survey.services.cache import Answer

log = logging.getLogger("tandemlens")
USER_AGENT = "tandemlens (cluster lens search)"
#: answers that say: later
_LATER = {408, 425, 429, 500, 502, 503, 504}
_BLOCK = 1 << 16
_CONNECT_SECONDS = 10.0


class BadAnswer(Exception):
    """An answer that arrived and is not what was asked; another try may bring the right one.

    Parameters
    ----------
    message : str
    status : str
        Of the band, should it stay so.
    """

    def __init__(self, message: str, status: str = "fetch_failed") -> None:
        super().__init__(message)
        self.status = status


class _Again(Exception):
    """A try that failed and may be repeated, not before `after` seconds."""

    def __init__(self, message: str, status: str = "fetch_failed", after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.after = status, after


@dataclass(frozen=True)
class Request:
    """A question to a service.

    Parameters
    ----------
    url : str
    key : dict
        What the answer is, without where it is asked: service, release, product, band, ra, dec, size, ...
    check : callable
        ``check(path)``; raises `BadAnswer` or, where asking again is of no use, `DataError`.
    params : dict
        Of the query.
    data : dict or None
        Form of a POST.
    suffix : str
        Of the file that keeps the answer.
    auth : requests.auth.AuthBase or None
        From `tandemlens.survey.services.logins`.
    headers : dict
        With a Range, only that part of the file is taken as an answer.
    final : dict
        HTTP status -> (status, sentence) of answers that another try does not change.
    rework : callable or None
        ``rework(path)`` puts the file that is worth keeping in the place of what came, before the check.
    pause : float or None
        Seconds to wait after HTTP 429 that names no time itself.
    """

    url: str
    key: dict[str, Any]
    check: Callable[[Path], object]
    params: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] | None = None
    suffix: str = ".fits"
    auth: "AuthBase | None" = None
    headers: dict[str, str] = field(default_factory=dict)
    final: dict[int, tuple[str, str]] = field(default_factory=dict)
    rework: Callable[[Path], object] | None = None
    pause: float | None = None

    @property
    def host(self) -> str:
        """Host whose connections the request counts for."""
        return urlsplit(self.url).netloc


class Client:
    """Asks services and keeps their answers.

    Parameters
    ----------
    settings : dict
        Section ``fetch`` of the settings.
    connections : dict of int, optional
        Host -> connections that its service allows, where fewer than ``fetch.connections``.
    """

    def __init__(self, settings: dict[str, Any], connections: dict[str, int] | None = None) -> None:
        self._settings = settings
        self._limits = connections or {}
        self._cache = Cache(settings["cache"])
        self._slots = Path(settings["cache"]) / "slots"
        self._local, self._lock = threading.local(), threading.Lock()
        self._gates: dict[str, threading.Semaphore] = {}
        self._locked_out: dict[str, str] = {}
        self._end = time.monotonic() + 60 * settings["shard_minutes"]
        #: what it cost: requests, bytes, again (repeated requests), cached (answers that were there)
        self.counts = {"requests": 0, "bytes": 0, "again": 0, "cached": 0}
        #: file of every answer that was given -> SHA-256
        self.answers: dict[str, str] = {}

    def get(self, request: Request) -> "Answer":
        """The answer to a request, from the cache or from the service.

        Parameters
        ----------
        request : Request

        Returns
        -------
        tandemlens.survey.services.cache.Answer

        Raises
        ------
        DataError
            With the status of the band, if no good answer comes within the tries and the budgets.
        """
        with self._cache.lock(request.key):
            found = self._cache.find(request.key, request.suffix)
            if found:
                self._count(cached=1)
            answer = found or self._fetch(request)
        self.answers[str(answer.path)] = answer.sha256
        return answer

    def kept(self, key: dict[str, Any], suffix: str = ".fits") -> "Answer | None":
        """The answer to a question if it is in the cache; nobody is asked.

        Parameters
        ----------
        key : dict
        suffix : str

        Returns
        -------
        tandemlens.survey.services.cache.Answer or None
        """
        found = self._cache.find(key, suffix)
        self._count(cached=int(found is not None))
        return found

    def _fetch(self, request: Request) -> "Answer":
        if request.auth and request.host in self._locked_out:
            # a wrong password sent again and again closes an account
            raise DataError("fetch_failed", self._locked_out[request.host])
        tries = 0
        policy = Retrying(
            stop=stop_after_attempt(self._settings["tries"]),
            wait=self._wait,
            sleep=self._sleep,
            retry=retry_if_exception_type(_Again),
            reraise=True,
        )
        temporary = self._cache.temporary(request.key, request.suffix)
        try:
            for attempt in policy:
                with attempt:
                    tries += 1
                    self._count(requests=1, again=int(tries > 1))
                    self._once(request, temporary)
            return self._cache.keep(request.key, request.suffix, temporary, tries, redact(request.url))
        except _Again as error:
            where = f"{request.host}{urlsplit(request.url).path}"
            raise DataError(error.status, redact(f"{where}: {error}; {tries} tries, the last one failed")) from None
        finally:
            temporary.unlink(missing_ok=True)

    def _once(self, request: Request, temporary: Path) -> None:
        """One try: the answer is written to `temporary` and checked."""
        with self._slot(request.host):
            seconds = min(self._settings["request_seconds"], self._end - time.monotonic())
            if seconds <= 0:
                raise DataError("fetch_failed", f"{request.host}: {self._budget()}")
            try:
                self._transfer(request, temporary, seconds)
            except requests.RequestException as error:
                raise _Again(f"{type(error).__name__}: {_innermost(error)}") from error
        try:
            if request.rework:
                request.rework(temporary)
            request.check(temporary)
        except BadAnswer as error:
            log.debug("%s: %s", request.host, redact(str(error)))
            raise _Again(str(error), error.status) from error

    def _transfer(self, request: Request, temporary: Path, seconds: int) -> None:
        end = time.monotonic() + seconds
        method = "GET" if request.data is None else "POST"
        with self._session().request(
            method,
            self._mirrored(request.url),
            params=request.params,
            data=request.data,
            auth=request.auth,
            headers=request.headers,
            stream=True,
            timeout=(_CONNECT_SECONDS, seconds),
        ) as response:
            self._refuse(request, response)
            with open(temporary, "wb") as handle:
                for block in response.iter_content(_BLOCK):
                    handle.write(block)
                    self._count(bytes=len(block))
                    if time.monotonic() > end:
                        raise _Again(f"no whole answer within {seconds:.0f} s")

    def _refuse(self, request: Request, response: requests.Response) -> None:
        code = response.status_code
        if code in request.final:
            raise DataError(request.final[code][0], f"{request.host}: {request.final[code][1]} (HTTP {code})")
        if code in _LATER:
            after = _retry_after(response.headers.get("Retry-After"))
            raise _Again(f"HTTP {code}", after=request.pause if after is None and code == 429 else after)
        if code in (401, 403):
            said = f"{request.host}: HTTP {code}, the login was refused; see config/README.md"
            if code == 401 and request.auth:
                self._locked_out[request.host] = said
            raise DataError("fetch_failed", said)
        if code >= 400:
            raise DataError("fetch_failed", f"{request.host}: HTTP {code} for {urlsplit(request.url).path}")
        part = request.headers.get("Range", "").replace("=", " ")
        said = response.headers.get("Content-Range", "nothing of the part")
        if part and (code != 206 or not said.startswith(f"{part}/")):
            # before a file of gigabytes is swallowed
            raise _Again(f"HTTP {code} with {said!r}, {part!r} was asked for")

    def _wait(self, state: Any) -> float:
        error = state.outcome.exception()
        grown = wait_exponential_jitter(
            multiplier=self._settings["backoff_seconds"], max=120, jitter=self._settings["backoff_seconds"]
        )(state)
        return grown if error.after is None else max(error.after, 0.0) + self._settings["backoff_seconds"] * 0.1

    def _sleep(self, seconds: Any) -> None:
        if time.monotonic() + seconds > self._end:
            raise DataError("fetch_failed", f"the next try would come too late: {self._budget()}")
        time.sleep(seconds)

    def _budget(self) -> str:
        return f"the {self._settings['shard_minutes']:g} min of fetch.shard_minutes are used up; run again to go on"

    def _mirrored(self, url: str) -> str:
        for ours, theirs in self._settings["mirrors"].items():
            if url.startswith(ours):
                return theirs + url[len(ours) :]
        return url

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers["User-Agent"] = USER_AGENT
        return self._local.session

    @contextmanager
    def _slot(self, host: str) -> Iterator[Any]:
        """One of the connections that a host allows to all jobs on this machine."""
        count = min(self._settings["connections"], self._limits.get(host, self._settings["connections"]))
        with self._lock:
            gate = self._gates.setdefault(host, threading.BoundedSemaphore(count))
        with gate:
            lock = self._free_slot(host.replace(":", "_"), count)
            try:
                yield
            finally:
                lock.release()

    def _free_slot(self, host: str, count: int) -> Any:
        self._slots.mkdir(parents=True, exist_ok=True)
        while True:
            for k in range(count):
                lock = FileLock(self._slots / f"{host}-{k}", blocking=False)
                try:
                    return lock.acquire() and lock
                except Timeout:
                    continue
            if time.monotonic() > self._end:
                raise DataError("fetch_failed", f"{host}: no free connection; {self._budget()}")
            time.sleep(0.02)

    def _count(self, **more: Any) -> None:
        with self._lock:
            for name, value in more.items():
                self.counts[name] += value


def _retry_after(header: str | None) -> float | None:
    try:
        return Retry().parse_retry_after(header) if header else None
    except InvalidHeader:
        return None


def _innermost(error: Any) -> str:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return redact(str(error))
