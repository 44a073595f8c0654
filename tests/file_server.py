"""A real HTTP server on loopback whose answers a test writes down."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """One answer; times in seconds.

    `cut`: send so many bytes, wait for `hang`, and close the connection. `delay`: before the
    answer. `drip`: between the bytes of the body. `length`: whether its length is announced.
    `keep`: leave the connection open even if the client wants it closed.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    delay: float = 0.0
    drip: float = 0.0
    hang: float = 0.0
    length: bool = True
    keep: bool = False


@dataclass(frozen=True)
class Request:
    """What was asked: the path with its query, headers, the body of a POST, the client's port."""

    path: str
    headers: Mapping[str, str]
    body: bytes | None = None
    port: int = 0


Answering = Callable[[Request], Reply]


def stored(
    body: bytes, *, etag: str | None = '"v1"', cuts: tuple[int, ...] = (), **more: str
) -> Answering:
    """A file that can be resumed by Range and If-Range; the first answers are cut after `cuts`."""
    left = list(cuts)

    def answer(request: Request) -> Reply:
        headers = {"Content-Type": "application/octet-stream", **more}
        if etag is not None:
            headers["ETag"] = etag
        cut = left.pop(0) if left else None
        asked = request.headers.get("Range")
        if asked is None or request.headers.get("If-Range", etag) != etag:
            return Reply(body, headers=headers, cut=cut)
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return Reply(body[start:], 206, headers, cut)

    return answer


class FileServer:
    """Answers by path; a list is worked through, its last answer repeats. Requests are kept."""

    def __init__(self, *, certificate: tuple[str, str] | None = None) -> None:
        self.answers: dict[str, Reply | Answering | list[Reply]] = {}
        self.requests: list[Request] = []
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> FileServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reply(self, request: Request) -> Reply:
        """The answer that is due."""
        self.requests.append(request)
        answer = self.answers.get(urlsplit(request.path).path, Reply(b"no", 404))
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer if isinstance(answer, Reply) else answer(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves early is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    owner: FileServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _answer(self, body: bytes | None) -> None:
        port = self.client_address[1]
        reply = self.owner.reply(Request(self.path, dict(self.headers.items()), body, port))
        self.close_connection &= not reply.keep
        time.sleep(reply.delay)
        try:
            self._send(reply)
        except OSError:
            self.close_connection = True  # the client has left

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for key, value in reply.headers.items():
            self.send_header(key, value)
        if reply.length:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        body = reply.body if reply.cut is None else reply.body[: reply.cut]
        if reply.drip:
            for index in range(len(body)):
                self.wfile.write(body[index : index + 1])
                self.wfile.flush()
                time.sleep(reply.drip)
        else:
            self.wfile.write(body)
        self.wfile.flush()
        time.sleep(reply.hang)
        if reply.cut is not None or not reply.length:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's
        """Keep quiet."""
