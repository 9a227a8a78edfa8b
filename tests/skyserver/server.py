"""Real HTTP on loopback that speaks the protocols of the services, and misbehaves when told to."""

import gzip
import importlib
import io
import json
import pkgutil
import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from astropy.io import fits

import skyserver
from skyserver.sky import Sky

HTML = b"<!DOCTYPE html><html><body><h1>503 Service Unavailable</h1></body></html>"
FAULTS = (
    "429", "500", "502", "503", "504", "reset", "stall", "gzip", "html", "nan", "elsewhere", "delay", "checksum",
)  # fmt: skip


@dataclass
class Asked:
    """What a client asked: host of the real service, path, query, form and headers."""

    host: str
    path: str
    query: dict
    form: dict
    headers: dict
    body: bytes = b""


@dataclass
class Reply:
    """What the service answers."""

    body: bytes
    status: int = 200
    headers: dict = field(default_factory=dict)


class Server:
    """The services on a port of this machine.

    Parameters
    ----------
    sky : Sky
    latency : float
        Seconds before every answer.
    fault_share : float
        Share of the answers that are faulty, in the manner of `faults`.
    faults : sequence of str
    slow : float
        Seconds of a stall and of a delay.
    """

    def __init__(self, sky=None, latency=0.0, fault_share=0.0, faults=FAULTS, slow=30.0, seed=1, port=0):
        self.sky = sky or Sky()
        self.latency, self.fault_share, self.faults, self.slow = latency, fault_share, tuple(faults), slow
        #: every question in order, as (host, path and query); number of faults by kind; most answers at a time by host
        self.asked, self.played, self.most = [], Counter(), Counter()
        self._now, self._lock, self._random = {}, threading.Lock(), random.Random(seed)
        self._hosts = {}
        for module in pkgutil.iter_modules(skyserver.__path__):
            if module.name not in ("server", "sky", "__main__"):
                for host, handler in importlib.import_module(f"skyserver.{module.name}").HOSTS.items():
                    self._hosts.setdefault(host, []).append(handler)
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._http.shutdown()
        self._http.server_close()

    @property
    def address(self):
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def mirrors(self):
        """Setting ``fetch.mirrors`` that sends every service here."""
        return {f"https://{host}": f"{self.address}/{host}" for host in self._hosts}

    def state(self):
        """What happened so far, as JSON."""
        with self._lock:
            return json.dumps({"asked": self.asked, "most": self.most, "played": self.played}).encode()

    def answer(self, asked):
        """The reply of the service that was asked; several on a host answer 404 where the path is another's."""
        for handler in self._hosts[asked.host]:
            reply = handler(self.sky, asked)
            if reply.status != 404:
                break
        return reply

    def knows(self, host):
        return host in self._hosts

    def enter(self, host, line, connection):
        with self._lock:
            self.asked.append((host, line))
            # who hung up while the answer was still being made waits no more
            self._now[host] = [c for c in self._now.get(host, []) if not hung_up(c)] + [connection]
            self.most[host] = max(self.most[host], len(self._now[host]))
            fault = self._random.choice(self.faults) if self._random.random() < self.fault_share else None
            self.played[fault or "good"] += 1
            return fault

    def leave(self, host, connection):
        with self._lock:
            self._now[host] = [c for c in self._now[host] if c is not connection]


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that hangs up is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # head and body are two writes: the second must not wait for the client's acknowledgement of the first
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._serve(b"")

    def do_POST(self):
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, body):
        server, parts = self.server.owner, urlsplit(self.path)
        if parts.path == "/state":
            self._send(Reply(server.state(), headers={"Content-Type": "application/json"}))
            return
        host, _, path = parts.path.lstrip("/").partition("/")
        if not server.knows(host):
            self._send(Reply(b"no such service", 404))
            return
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        form = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
        asked = Asked(host, f"/{path}", query, form, dict(self.headers), body)
        fault = server.enter(host, f"/{path}?{parts.query}", self.connection)
        left = []

        def leave():
            # before the last byte: a client may ask again as soon as it has that
            if not left:
                left.append(True)
                server.leave(host, self.connection)

        try:
            time.sleep(server.latency)
            self._play(fault, asked, leave)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            leave()

    def _play(self, fault, asked, leave):
        server = self.server.owner
        if fault and fault.isdigit():
            headers = {"Retry-After": "1"} if fault == "429" else {}
            self._send(Reply(HTML, int(fault), headers), leave)
            return
        if fault == "html":
            self._send(Reply(HTML, 200, {"Content-Type": "text/html"}), leave)
            return
        if fault == "delay":
            self._wait(server.slow)
        reply = server.answer(asked)
        if fault in ("nan", "elsewhere", "checksum"):
            reply = Reply(spoiled(reply.body, fault), reply.status, reply.headers)
        if fault == "gzip":
            body = gzip.compress(reply.body, 1)
            reply = Reply(body[: len(body) // 2], 200, {**reply.headers, "Content-Encoding": "gzip"})
        if fault in ("reset", "stall"):
            self._break_off(reply, fault, server.slow, leave)
            return
        self._send(reply, leave)

    def _break_off(self, reply, fault, slow, leave):
        self._head(reply)
        self.wfile.write(reply.body[: len(reply.body) // 2])
        self.wfile.flush()
        if fault == "stall":
            self._wait(slow)
        leave()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _wait(self, seconds):
        """Wait as long as the client does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if hung_up(self.connection, 0.05):
                raise ConnectionResetError("the client hung up")

    def _head(self, reply):
        self.send_response(reply.status)
        headers = {"Content-Type": "application/octet-stream", **reply.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()

    def _send(self, reply, leave=lambda: None):
        self._head(reply)
        leave()
        self.wfile.write(reply.body)


def hung_up(connection, seconds=0.0):
    """Whether the client of an answer that is not yet whole has closed the connection."""
    try:
        return bool(select.select([connection], [], [], seconds)[0]) and not connection.recv(1, socket.MSG_PEEK)
    except (OSError, ValueError):
        return True


def spoiled(body, fault):
    """A FITS answer with NaN pixels, at another place, or with bytes that its checksum does not fit."""
    if not body.startswith(b"SIMPLE  ="):
        return HTML
    if fault == "checksum":
        data = bytearray(body)
        middle = len(data) // 2
        data[middle : middle + 64] = bytes(64 * [7])
        return bytes(data)
    with fits.open(io.BytesIO(body), memmap=False) as hdus:
        out = []
        for hdu in hdus:
            header, data = hdu.header.copy(), hdu.data
            if fault == "nan" and data is not None and data.dtype.kind == "f":
                data = np.full_like(data, np.nan)
            if fault == "elsewhere" and "CRVAL1" in header:
                header["CRVAL2"] += 0.05 if header["CRVAL2"] < 0 else -0.05
            out.append(type(hdu)(data, header))
        return fits_bytes(out)


def fits_bytes(hdus):
    """A FITS file in memory, with checksums."""
    out = io.BytesIO()
    fits.HDUList(hdus).writeto(out, checksum=True)
    return out.getvalue()
