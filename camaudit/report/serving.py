"""A run's report over HTTP, for this computer alone."""

from __future__ import annotations

import json
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from camaudit.errors import AuditError, UsageError
from camaudit.report.explorer import PART, part, served
from camaudit.report.html import render
from camaudit.report.kept_maps import KeptMaps
from camaudit.report.pages import FIRST, report_files
from camaudit.report.reading import Run
from camaudit.report.view import select_check
from camaudit.report.writing import REPORT_NAME, RESULTS_NAME, encoded

__all__ = ["LOOPBACK", "ReportServer", "server"]

LOOPBACK = "127.0.0.1"
_PART = re.compile(r"/parts/(0|[1-9][0-9]{0,6})\.json", re.ASCII)
_HTML = "text/html; charset=utf-8"
_JSON = "application/json; charset=utf-8"


class ReportServer(ThreadingHTTPServer):
    """Answers `/`, `/results.json` and `/parts/N.json`, and nothing else.

    No path of a request ever reaches the file system. A request whose Host header is not this
    server's is refused, so that no web page can read it under a name of its own.
    """

    daemon_threads = True

    def __init__(self, run: Run, port: int) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.port: int = self.server_address[1]
        self._maps = run.maps
        self._results = (run.folder / RESULTS_NAME).read_bytes()
        self._names, self._page = _page(run)
        self._reading = threading.Lock()  # a file that is read remembers its last part

    @property
    def url(self) -> str:
        """The address of the report."""
        return f"http://{LOOPBACK}:{self.port}/"

    @property
    def hosts(self) -> tuple[str, str]:
        """The names that a request may call this server by."""
        return f"{LOOPBACK}:{self.port}", f"localhost:{self.port}"

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Kind and bytes of what lies at `path`; None for nothing.

        Raises :class:`AuditError` where the maps are no longer as they were written.
        """
        if path == "/":
            return _HTML, self._page
        if path == f"/{RESULTS_NAME}":
            return _JSON, self._results
        found = _PART.fullmatch(path)
        start = 0 if found is None else int(found[1]) * PART
        if found is None or self._maps is None or start >= len(self._maps):
            return None
        with self._reading:
            places = range(start, min(start + PART, len(self._maps)))
            content = part(self._maps, self._names, places)
        return _JSON, json.dumps(content).encode("ascii")


class _Handler(BaseHTTPRequestHandler):
    """One connection of a :class:`ReportServer`."""

    server: ReportServer
    server_version = "camaudit"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        """Answer a request."""
        self._guarded(body=True)

    def do_HEAD(self) -> None:
        """Answer a request without the content."""
        self._guarded(body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Nothing: the terminal is the user's."""

    def _guarded(self, *, body: bool) -> None:
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"not this server\n", body)
            return
        try:
            found = self.server.answer(self.path)
        except AuditError as error:
            text = encoded(f"{error}\n")
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text, body)
            return
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"nothing here\n", body)
        else:
            self._send(HTTPStatus.OK, *found, body)

    def _send(self, status: HTTPStatus, kind: str, content: bytes, body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        if body:
            self.wfile.write(content)


def server(run: Run, *, port: int = 0) -> ReportServer:
    """A server for `run` that listens on 127.0.0.1; a context manager that closes it.

    `port` 0 is any free one. Raises :class:`UsageError` where the port is taken.
    """
    try:
        return ReportServer(run, port)
    except OSError as error:
        raise UsageError(
            f"port {port} of {LOOPBACK} cannot be used ({error.strerror or error}): give another "
            "one, or leave --port out"
        ) from error


def _page(run: Run) -> tuple[list[str], bytes]:
    """The methods of the parts, and the report."""
    summary = select_check(run.results)
    maps: KeptMaps | None = run.maps
    if maps is None or not len(maps) or not summary:
        pictures = [] if maps is None else maps.pictures()
        return [], encoded(report_files(run.results, [], pictures)[REPORT_NAME])
    total = len({record.image for record in run.results.records})
    names, explorer = served(maps, summary, run.results.records, total=total)
    page = render(run.results, maps.gallery(FIRST), maps.pictures(), explorer=explorer)
    return names, encoded(page)
