"""The one place that speaks HTTP: https only, redirects checked, foreign errors translated.

Everything above sees an :class:`Answer` or an error of ours. A request follows redirects by hand,
so that none leads away from https, and reads bodies as they are stored, so that byte offsets,
lengths and hashes mean the same on both sides.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3.exceptions

from camaudit.data.folders import printable
from camaudit.errors import BrokenTransferError, FetchError, OfflineError, UsageError

__all__ = ["Answer", "Client", "Network", "Sign", "check_url", "is_loopback", "shown"]

Sign = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""Signs a request that is ready to be sent."""

CHUNK = 1 << 18
_MOVED = {301, 302, 303, 307, 308}
_BUSY = {408, 425, 429, 500, 502, 503, 504}
_MOST_REDIRECTS = 10
_LONGEST_PAGE = 1 << 20

_HINT = (
    "check the network and proxy settings, or take the file from elsewhere with --mirror or --url"
)

_WHY = {
    401: "it wants a login",
    403: "it forbids it: the link may be private or have expired",
    404: "there is no such file: the link may be out of date",
    410: "the file is gone",
}


@dataclass(frozen=True)
class Network:
    """How servers are talked to; times in seconds.

    `retries` failures in a row that gain no byte end a download. The pause before a try is what
    the server asks for, at most `longest_wait`, or else `backoff`, doubled each time. A body that
    gains less than `stall_bytes` in `stall` seconds counts as broken off. `loopback_http` admits
    plain http to this machine and `drive` replaces Google's address: both are for tests.
    """

    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    retries: int = 5
    backoff: float = 1.0
    longest_wait: float = 120.0
    stall: float = 60.0
    stall_bytes: int = 4096
    loopback_http: bool = False
    drive: str = "https://drive.usercontent.google.com/download"
    sleep: Callable[[float], None] = time.sleep


def check_url(url: str, *, loopback_http: bool = False) -> str:
    """The URL unchanged, if it is one that may be fetched.

    Raises:
        UsageError: if it is no https URL, holds a user name or password, or cannot be parsed.
    """
    problem = _problem(url, loopback_http=loopback_http)
    if problem:
        raise UsageError(f"expected an https URL; got {shown(url)!r}: {problem}")
    return url


def shown(url: str) -> str:
    """A URL for messages: without user, password, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        plain = urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        plain = url.partition("?")[0]
    return printable(plain)


class Answer:
    """A server's answer, its body still unread; a context manager that closes the connection."""

    def __init__(self, response: requests.Response, url: str, network: Network) -> None:
        self._response = response
        self._network = network
        self.url = url
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._response.close()

    @property
    def is_html(self) -> bool:
        """Whether the server calls the body a web page."""
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return kind in {"text/html", "application/xhtml+xml"}

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the server says so."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and not self.is_chunked else None

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in pieces and says itself where it ends."""
        return "chunked" in self.headers.get("Transfer-Encoding", "").lower()

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives.

        Raises:
            BrokenTransferError: if it ends early, stalls, or the connection breaks.
        """
        since, gained = time.monotonic(), 0
        while data := self._read():
            yield data
            gained += len(data)
            passed = time.monotonic() - since
            if passed > self._network.stall:
                if gained < self._network.stall_bytes:
                    raise BrokenTransferError(f"only {gained} bytes came in {passed:.0f} s")
                since, gained = time.monotonic(), 0

    def body(self, limit: int) -> bytes:
        """The whole body, of at most `limit` bytes.

        Raises:
            FetchError: if it is longer, or compressed although that was not asked for.
            BrokenTransferError: as :meth:`chunks`.
        """
        encoding = self.headers.get("Content-Encoding", "identity").lower()
        if encoding not in {"", "identity"}:
            raise FetchError(
                f"{shown(self.url)} comes compressed ({printable(encoding)}), which was not asked "
                "for: use another server"
            )
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                raise FetchError(
                    f"{shown(self.url)} sends more than {limit} bytes, which is no sensible answer"
                )
        return bytes(data)

    def page(self) -> str:
        """The start of a web page, at most one MiB of it."""
        text = bytearray()
        for data in self.chunks():
            text += data
            if len(text) >= _LONGEST_PAGE:
                break
        return text.decode("utf-8", "replace")

    def refuse(self) -> FetchError:
        """The error that the status stands for, with what the server asks to wait."""
        host = urlsplit(self.url).hostname
        if self.status in _BUSY:
            wait = _retry_after(self.headers.get("Retry-After", ""))
            return BrokenTransferError(f"{host} answers {self.status}", retry_after=wait)
        why = _WHY.get(self.status, "that is no answer to a download")
        return FetchError(f"{host} answers {self.status} to {shown(self.url)}: {why}")

    def _read(self) -> bytes:
        try:
            data: bytes | None = self._response.raw.read1(CHUNK, decode_content=False)
        except urllib3.exceptions.ReadTimeoutError as error:
            limit = self._network.read_timeout
            raise BrokenTransferError(f"no byte came within {limit:g} s") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise BrokenTransferError("the connection broke off") from error
        return data or b""


class Client:
    """A session with cookies that sends requests; a context manager.

    `hint` says in errors what to do about a server that cannot be reached.
    """

    def __init__(self, network: Network, *, hint: str = _HINT) -> None:
        self.network = network
        self._hint = hint
        self._session = _Session()
        # without this, passwords of ~/.netrc would be sent to whatever host a list names
        self._session.auth = _no_password

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.close()

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a GET, follow redirects to https, and return the answer with its body unread.

        Raises:
            UsageError: if the URL may not be fetched.
            OfflineError: if the server cannot be reached.
            BrokenTransferError: if it does not answer.
            FetchError: if a redirect leads away from https or in circles, or TLS fails.
        """
        check_url(url, loopback_http=self.network.loopback_http)
        for _ in range(_MOST_REDIRECTS):
            response = self._send("GET", url, headers or {})
            location = response.headers.get("Location")
            if response.status_code not in _MOVED or location is None:
                return Answer(response, url, self.network)
            response.close()
            url = self._followed(url, location)
        raise FetchError(f"{shown(url)} redirects more than {_MOST_REDIRECTS} times")

    def post(self, url: str, body: bytes, headers: Mapping[str, str], sign: Sign) -> Answer:
        """Send a POST once, and return the answer with its body unread; no redirect is followed.

        `sign` adds what proves who asks, so that it stands in no variable of this module. Raises
        as :meth:`open` does.
        """
        check_url(url, loopback_http=self.network.loopback_http)
        # a connection of its own: a kept one that the server is just dropping would look as if
        # the request had arrived and its answer were lost
        self._session.close()
        # plain http is for this machine alone: a proxy would see what is meant for the server
        direct = {"http": ""}
        response = self._send(
            "POST", url, {"Connection": "close", **headers}, body=body, sign=sign, proxies=direct
        )
        return Answer(response, url, self.network)

    def _followed(self, url: str, location: str) -> str:
        try:
            target = urljoin(url, location)
        except ValueError:
            target = location
        problem = _problem(target, loopback_http=self.network.loopback_http)
        if problem:
            raise FetchError(
                f"{shown(url)} redirects to {shown(target)!r}, which is refused: {problem}"
            )
        return target

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        body: bytes | None = None,
        sign: Sign | None = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        asked = {"Accept-Encoding": "identity", "User-Agent": "camaudit", **headers}
        limits = (self.network.connect_timeout, self.network.read_timeout)
        try:
            return self._session.request(
                method, url, headers=asked, data=body, auth=sign, stream=True,
                allow_redirects=False, timeout=limits, proxies=proxies,
            )  # fmt: skip
        except (OSError, urllib3.exceptions.HTTPError) as error:  # requests' errors are OSErrors
            # the frames of a signed request hold what signed it, so that they are not chained
            cause = None if sign else error
            raise _translated(error, url, self.network, self._hint) from cause


class _Session(requests.Session):
    """A session that leaves redirects alone; else it would read their bodies, however long."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: there is nothing to prepare."""


def _no_password(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _problem(url: str, *, loopback_http: bool) -> str:
    """What is wrong with a URL; empty if nothing is."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        return f"it cannot be parsed ({error})"
    if any(char.isspace() or not char.isprintable() for char in url):
        return "it holds spaces or control characters"
    if not host:
        return "it names no host"
    if "@" in parts.netloc:
        return "user names and passwords in a URL are not sent"
    if parts.scheme == "https" or (parts.scheme == "http" and loopback_http and is_loopback(host)):
        return ""
    return f"{parts.scheme} is neither encrypted nor authenticated"


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _translated(error: Exception, url: str, network: Network, hint: str) -> FetchError:
    """Our error for one of requests, without its text: that may hold a proxy's password."""
    host = urlsplit(url).hostname
    if isinstance(error, requests.exceptions.SSLError):
        return FetchError(
            f"{host} has no valid TLS certificate here: check the clock and the certificates of "
            "this machine; the check cannot be turned off"
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return OfflineError(f"cannot reach {host}: the proxy does not let it through; {hint}")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        limit = network.connect_timeout
        return OfflineError(f"cannot reach {host}: no connection within {limit:g} s; {hint}")
    if isinstance(error, requests.exceptions.ReadTimeout):
        return BrokenTransferError(f"{host} did not answer within {network.read_timeout:g} s")
    if isinstance(error, requests.exceptions.ConnectionError):
        return _unconnected(error, f"{host}", hint)
    return FetchError(f"{shown(url)} cannot be fetched ({type(error).__name__})")


def _unconnected(error: requests.exceptions.ConnectionError, host: str, hint: str) -> FetchError:
    """No connection at all means offline; one that broke may be tried again."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return OfflineError(f"cannot reach {host}: its name is not resolved (offline?); {hint}")
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return OfflineError(f"cannot reach {host}: no connection (offline?); {hint}")
    return BrokenTransferError(f"{host} closed the connection without an answer")


def _retry_after(text: str) -> float | None:
    """Seconds of a Retry-After header, given as a number or as a date; None without one."""
    if text.strip().isascii() and text.strip().isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
