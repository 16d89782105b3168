"""The web server of the live view: loopback only, a few static files, the descriptions, and one stream of updates a page.

A page of another site in the same browser could ask for these addresses too; so every request must name this host by a
loopback name, and nothing may be loaded into the page from elsewhere.
"""

from __future__ import annotations

import errno
import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from emulators.watch.described import describe
from emulators.watch.sources import Source
from regmodel.errors import RegmodelError, UsageError

ADDRESS = "127.0.0.1"
STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("index.html", "text/html"),
    "/watch.js": ("watch.js", "text/javascript"),
    "/watch.css": ("watch.css", "text/css"),
}
OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"


class WatchServer(ThreadingHTTPServer):
    """Serves ``source`` at ``port`` (0: any that is free) with ``rate`` updates a second. Raises ``UsageError``."""

    daemon_threads = True

    def __init__(self, source: Source, port: int = 0, rate: float = 10.0) -> None:
        self.source, self.rate = source, rate
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(f"port {port} is in use: choose another --port, or 0 for any") from None
            raise UsageError(f"cannot listen at {ADDRESS}:{port}: {error.strerror}") from None

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error; all else is told."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: WatchServer
    protocol_version = "HTTP/1.1"
    server_version = "regmodel"
    sys_version = ""

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        parts = urlsplit(self.path)
        if host not in OWN_NAMES:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this page is for this machine only\n")
        elif parts.path in FILES:
            name, kind = FILES[parts.path]
            self._send(HTTPStatus.OK, kind, (STATIC / name).read_bytes())
        elif parts.path == "/describe":
            functions = {name: describe(device) for name, device in self.server.source.devices.items()}
            self._json({"live": self.server.source.live, "functions": functions})
        elif parts.path == "/updates":
            self._updates(packets="packets" in parse_qs(parts.query, keep_blank_values=True))
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is nothing here\n")

    def _json(self, value: Any) -> None:
        self._send(HTTPStatus.OK, "application/json", json.dumps(value, separators=(",", ":")).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self._head(kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _head(self, kind: str) -> None:
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")

    def _updates(self, *, packets: bool) -> None:
        """Server-sent events until the browser or the server of devices goes away."""
        self.send_response(HTTPStatus.OK)
        self._head("text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for update in self.server.source.updates(self.server.rate, packets=packets):
                self._event("update", update | {"values": _exact(update["values"])})
            self._event("end", {"why": "this is all of the trace"})
        except RegmodelError as error:
            self._event("end", {"why": str(error)})

    def _event(self, name: str, value: Any) -> None:
        self.wfile.write(f"event: {name}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode())
        self.wfile.flush()


def _exact(values: dict[str, dict[str, int]]) -> dict[str, dict[str, str]]:
    """Values of registers as text: a number of JSON has 53 bits in a browser, and a register up to 64."""
    return {name: {path: hex(value) for path, value in held.items()} for name, held in values.items()}
