"""An OpenAI-compatible service: one JSON request, one JSON answer, every other answer explained.

The key is added by the HTTP layer as the request goes out; texts of the service pass through
:meth:`Key.redact` before anything else sees them. Redirects are not followed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from camaudit.data.folders import printable
from camaudit.data.generation.key import Key
from camaudit.data.web import Answer, Client, Network, check_url, is_loopback, shown
from camaudit.errors import (
    BrokenTransferError,
    FetchError,
    GenerationError,
    OfflineError,
    UsageError,
)

__all__ = ["MOST_BYTES", "Endpoint", "Reply", "SendError", "check_base_url", "said"]

MOST_BYTES = 1 << 26
"""The longest answer, and the longest picture."""

_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529}
_UNSURE = {502, 504, 520, 524}  # a gateway speaks for a server that may have done its work
_REFUSED = re.compile(
    r"content[ _-]?(policy|filter)|content management policy|safety system|moderation"
    r"|responsible ?ai",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(r"insufficient_quota|billing_(hard_)?limit|insufficient[ _]credit", re.I)
_PLAIN = {"b64_json", "url"}  # data, not texts: redacting would spoil them
_LONGEST_SHOWN = 300
_HINT = (
    "check the network and proxy settings and --base-url; what is finished is kept, and the same "
    "command goes on from there"
)


@dataclass(frozen=True)
class Reply:
    """A JSON object as the service sent it, without the key; `id` is that of the request."""

    body: dict[str, Any] = field(repr=False)
    id: str | None


class SendError(GenerationError):
    """One request failed.

    again: whether another try may succeed. paid_maybe: whether it may be on the bill all the
    same. refused: whether it was refused for its content. retry_after: seconds to wait, where the
    service says so.
    """

    def __init__(
        self,
        message: str,
        *,
        again: bool = False,
        paid_maybe: bool = False,
        refused: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.again = again
        self.paid_maybe = paid_maybe
        self.refused = refused
        self.retry_after = retry_after


class Endpoint:
    """A service at a base URL; a context manager that closes its connections."""

    def __init__(self, base_url: str, key: Key, network: Network) -> None:
        self._base = check_base_url(base_url)
        self._key = key
        self._client = Client(network, hint=_HINT)
        self.host = urlsplit(base_url).netloc

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.__exit__(kind, error, trace)

    def post(self, path: str, body: dict[str, Any], *, idempotency_key: str) -> Reply:
        """Send one request, once. Raises :class:`SendError` for whatever is no JSON object."""
        data = json.dumps(body).encode("ascii")
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Idempotency-Key": idempotency_key,
        }
        try:
            with self._client.post(f"{self._base}/{path}", data, headers, self._key.sign) as answer:
                return self._read(answer)
        except OfflineError as error:
            raise SendError(str(error), again=True) from error
        except BrokenTransferError as error:
            why = f"{self.host} did not answer in full: {error}"
            raise SendError(why, again=True, paid_maybe=True) from error
        except FetchError as error:  # no TLS, say: nothing was sent
            raise SendError(str(error)) from error

    def _read(self, answer: Answer) -> Reply:
        if not 200 <= answer.status < 300:
            raise self._refusal(answer)
        try:
            data = answer.body(MOST_BYTES)
        except BrokenTransferError:
            raise
        except FetchError as error:
            raise SendError(self._text(str(error)), paid_maybe=True) from None  # it has headers
        try:
            body = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._no_json(answer, data) from error
        if not isinstance(body, dict):
            raise self._no_json(answer, data)
        return Reply(self._redacted(body), self._id(answer))

    def _no_json(self, answer: Answer, data: bytes) -> SendError:
        if answer.length is None and not answer.is_chunked and not answer.is_html:
            why = f"{self.host}: the answer may be cut off, for it has no length and is no JSON"
            return SendError(why, again=True, paid_maybe=True)
        came = "a web page" if answer.is_html else f"{len(data)} bytes of something else"
        return SendError(
            f"{self.host} sent {came}, expected a JSON object: is --base-url that of an "
            "OpenAI-compatible service, with its /v1?",
            paid_maybe=True,
        )

    def _id(self, answer: Answer) -> str | None:
        found = answer.headers.get("x-request-id", "").strip()
        return self._text(found) or None

    def _refusal(self, answer: Answer) -> SendError:
        """What an answer that is no success means, and what to do."""
        status, start = answer.status, f"{self.host} answers {answer.status}"
        if 300 <= status < 400:
            target = self._text(shown(answer.headers.get("Location", "")))
            return SendError(
                f"{start}, a redirect to {target!r}: it is not "
                "followed, because the key is for this host alone; give the new address with "
                "--base-url if you trust it"
            )
        words, code = self._said(answer)
        start = f"{start} ({words})" if words else start
        if _NO_CREDIT.search(code):
            return SendError(f"{start}: the account has no credit left; add some and go on")
        if status in {400, 422} and _REFUSED.search(f"{code} {words}"):
            return SendError(start, refused=True)
        if status in _AGAIN:
            refusal = answer.refuse()
            wait = refusal.retry_after if isinstance(refusal, BrokenTransferError) else None
            return SendError(start, again=True, paid_maybe=status in _UNSURE, retry_after=wait)
        return SendError(f"{start}: {_advice(status, has_key=bool(self._key))}")

    def _said(self, answer: Answer) -> tuple[str, str]:
        """What the body of a refusal says, in words and in codes; empty if nothing useful."""
        try:
            text = answer.page()
        except BrokenTransferError:
            return "", ""
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            return ("a web page" if answer.is_html else self._text(text)), ""
        words, code = said(body)
        return self._text(words), code

    def _text(self, text: str) -> str:
        """A text of the service for messages and files: without the key, in one line, short."""
        plain = printable(" ".join(self._key.redact(text).split()))
        return plain if len(plain) <= _LONGEST_SHOWN else plain[: _LONGEST_SHOWN - 1] + "…"

    def _redacted(self, value: Any, name: str = "") -> Any:
        """A JSON value without the key in any of its texts."""
        if isinstance(value, str):
            return value if name in _PLAIN else self._key.redact(value, masks=False)
        if isinstance(value, list):
            return [self._redacted(item) for item in value]
        if isinstance(value, dict):
            return {key: self._redacted(value[key], key) for key in value}
        return value


def check_base_url(url: str) -> str:
    """The URL without a slash at its end, if a key may be sent there.

    Raises :class:`UsageError` if it is neither https nor http to this machine, or has a user
    name, a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = None, ""
    if parts is not None and parts.scheme == "http" and host and not is_loopback(host):
        raise UsageError(
            f"--base-url: expected https; got {shown(url)!r}: over http the key would go through "
            "the network in clear (http is for this machine alone)"
        )
    try:
        check_url(url, loopback_http=True)
    except UsageError as error:
        raise UsageError(f"--base-url: {error}") from error
    if parts is not None and ("?" in url or "#" in url):
        raise UsageError(
            f"--base-url: expected a URL without query and fragment; got {shown(url)!r} and more: "
            "give the part before /images/generations alone"
        )
    return url.rstrip("/")


def said(body: Any) -> tuple[str, str]:
    """The message and the codes of an error body, in any of the usual forms; empty if none."""
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, str):
        return error, ""
    if not isinstance(error, dict):
        return "", ""
    found = (error.get(key) for key in ("message", "detail", "error_description"))
    words = next((text for text in found if isinstance(text, str)), "")
    inner = error.get("inner_error")
    holders = (error, inner if isinstance(inner, dict) else {})
    codes = (holder.get(key) for holder in holders for key in ("code", "type"))
    return words, " ".join(code for code in codes if isinstance(code, str))


def _advice(status: int, *, has_key: bool) -> str:
    if status in {401, 403}:
        if not has_key:
            return "it wants an API key; put one into the environment variable of --key-env"
        return (
            "it does not accept the API key for this; check the variable of --key-env, and that "
            "the account may use this model"
        )
    if status == 402:
        return "the account has no credit left; add some and go on"
    if status == 404:
        return "check --base-url (does it end in /v1?) and the name of the model"
    return (
        "the service does not take the request as it stands; compare --model, --size and "
        "--quality with its documentation"
    )
