"""One file from an https URL: resumed where it broke off, checked, and in place only when whole.

While it comes, the file is `NAME.part`, and `NAME.part.json` says where from and in which version,
so that a later run goes on where this one stopped. A file that turns out not to be the right one
becomes `NAME.rejected`, to be looked at; `NAME` itself is only ever a file that passed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from camaudit.data import google_drive
from camaudit.data.folders import printable
from camaudit.data.part import Part, Version
from camaudit.data.web import Answer, Client, Network, check_url, shown
from camaudit.errors import (
    BrokenTransferError,
    FetchError,
    MismatchError,
    OfflineError,
    OutputError,
)

__all__ = ["Downloaded", "Progress", "Silent", "digest", "download", "served_name"]

_MOST_TRIES = 100
_HEAD = 512
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = {".html", ".htm", ".xhtml"}


class Progress(Protocol):
    """What a download reports: `start` the bytes to come, `advance` those that came."""

    def start(self, work: int) -> None:
        """`work` bytes are to come."""

    def stage(self, text: str) -> None:
        """What is being done."""

    def advance(self, work: int) -> None:
        """`work` bytes came."""


class Silent:
    """Reports nothing."""

    def start(self, work: int) -> None:
        """Nothing."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def advance(self, work: int) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Downloaded:
    """A file in place, with its hash and size; `resumed` bytes of it came in an earlier run."""

    path: Path
    sha256: str
    size: int
    resumed: int


@dataclass(frozen=True)
class _Wanted:
    """What is to come: from where, and what is known of it beforehand."""

    url: str
    sha256: str | None
    size: int | None


class _Patience:
    """How long to wait before the next try, and when to give up."""

    def __init__(self, network: Network, part: Part) -> None:
        self._network = network
        self._part = part
        self._most = self._first = part.size()
        self._in_a_row = 0
        self._tries = 0

    def wait(self, error: FetchError) -> float:
        """Seconds until the next try; raises FetchError when there should be none."""
        size = self._part.size()
        if size > self._most:
            self._most, self._in_a_row = size, 0
        if isinstance(error, OfflineError) and self._most == self._first:
            raise error  # this run has not had a byte yet, so there may be no network at all
        self._in_a_row += 1
        self._tries += 1
        asked = error.retry_after if isinstance(error, BrokenTransferError) else None
        limit = self._network.longest_wait
        if asked is not None and asked > limit:
            raise self._given_up(f"{error} and asks to come back in {asked:.0f} s") from error
        if self._in_a_row > self._network.retries or self._tries > _MOST_TRIES:
            raise self._given_up(f"{error}; gave up after {self._tries} tries") from error
        doubled = self._network.backoff * 2.0 ** (self._in_a_row - 1)
        return asked if asked is not None else min(limit, doubled)

    def _given_up(self, why: str) -> FetchError:
        kept = self._part.size()
        version = self._part.version()
        goes_on = kept and version is not None and version.validator is not None
        rest = (
            f": {kept} bytes are kept, and the same command goes on from there" if goes_on else ""
        )
        return FetchError(f"{printable(self._part.target.name)} is not complete: {why}{rest}")


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    network: Network | None = None,
    progress: Progress | None = None,
) -> Downloaded:
    """Fetch `url` into the file `target`, going on from an earlier part of the same version.

    `sha256` (64 lower-case hexadecimal digits) and `size` (bytes) are checked where given. On any
    failure and on Ctrl-C the bytes that came stay in `NAME.part`.

    Raises:
        UsageError: if the URL may not be fetched.
        OutputError: if the disk is full or the folder cannot be written.
        OfflineError: if the server cannot be reached.
        MismatchError: if size or hash are wrong.
        FetchError: if the server refuses, sends a web page instead of the file, or keeps breaking
            off.
    """
    network = network or Network()
    progress = progress or Silent()
    source = google_drive.direct(url, network.drive) or check_url(
        url, loopback_http=network.loopback_http
    )
    wanted = _Wanted(source, sha256, size)
    part = Part(target)
    with _disk(target), Client(network) as client:
        target.parent.mkdir(parents=True, exist_ok=True)
        found, resumed = _complete(client, wanted, part, progress)
        if sha256 not in {None, found} and resumed:
            progress.stage(f"{printable(target.name)}: the parts do not fit, starting afresh")
            part.discard()
            found, resumed = _complete(client, wanted, part, progress)
        if sha256 not in {None, found}:
            raise _wrong_hash(part, found, f"{sha256}")
        length = part.size()
        part.accept()
    return Downloaded(target, found, length, resumed)


def served_name(url: str, *, network: Network | None = None) -> str | None:
    """The name of the file that a URL leads to: the server's where it gives one, else the URL's.

    Only a link to Google Drive, which holds no name, is asked for; raises as :func:`download`.
    """
    network = network or Network()
    source = google_drive.direct(url, network.drive)
    if source is None:
        return _plain_name(unquote(urlsplit(url).path))
    with Client(network) as client, _opened(client, source, {"Range": "bytes=0-0"}) as answer:
        if answer.status not in {200, 206}:
            raise answer.refuse()
        header = Message()
        header["Content-Disposition"] = answer.headers.get("Content-Disposition", "")
        return _plain_name(header.get_filename() or "")


def digest(path: Path) -> str:
    """SHA-256 of a file of any size, as 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain_name(path: str) -> str | None:
    """The last piece of a path, if it can be a file's name."""
    name = re.split(r"[/\\]", path)[-1].strip()
    return name if name.strip(".") and name.isprintable() and len(name.encode()) < 240 else None


def _wrong_hash(part: Part, found: str, expected: str) -> MismatchError:
    rejected = part.reject()
    return MismatchError(
        f"{printable(part.target.name)} has the sha256 {found}, expected {expected}: it is another "
        f"version, or was changed on the way; it lies apart as {printable(rejected.name)} and was "
        "not put in place"
    )


@contextmanager
def _disk(target: Path) -> Iterator[None]:
    """Errors of the disk become ours; those of the network are ours already."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{printable(str(target))} cannot be written: {error.strerror or error}; what came so "
            "far is kept: free some space or change the permissions, and the same command goes on"
        ) from error


def _complete(client: Client, wanted: _Wanted, part: Part, progress: Progress) -> tuple[str, int]:
    """Bring the part to its full length; its hash, and the bytes that were there before."""
    version = part.version()
    trusted = version is not None and (version.validator or wanted.sha256)
    if version is None or version.url != wanted.url or not trusted:
        part.discard()
    before = part.size()
    patience = _Patience(client.network, part)
    name = printable(part.target.name)
    while True:
        progress.stage(f"fetching {name}")
        try:
            _once(client, wanted, part, before, progress)
        except (BrokenTransferError, OfflineError) as error:
            wait = patience.wait(error)
            progress.stage(f"{name}: {error}; trying again in {wait:.0f} s")
            client.network.sleep(wait)
        else:
            progress.stage(f"{name}: checking the hash")
            return digest(part.path), before


def _once(client: Client, wanted: _Wanted, part: Part, before: int, progress: Progress) -> None:
    """One request for what is missing; `before` bytes were there when this run began."""
    version, offset = part.version(), part.size()
    headers = {}
    if version is not None and offset:
        if offset == version.total:
            return
        headers["Range"] = f"bytes={offset}-"
        if version.validator is not None:
            headers["If-Range"] = version.validator
    with _opened(client, wanted.url, headers) as answer:
        total = _total(answer, part, offset)
        chunks, start = answer.chunks(), b""
        if answer.status == 200:
            _check_length(answer, total, wanted)
            offset, start = 0, _head(chunks)
            _check_is_file(answer, start, part.target)
            part.restart(_version(answer, wanted.url, total))
        _check_space(part.path, total, offset)
        if total is not None and offset in {0, before}:  # a resumed try goes on with its bar
            progress.start(total - offset)
        _append(part, start, chunks, wanted.size if total is None else total, progress)


def _version(answer: Answer, url: str, total: int | None) -> Version:
    return Version(url, answer.headers.get("ETag"), answer.headers.get("Last-Modified"), total)


def _check_length(answer: Answer, total: int | None, wanted: _Wanted) -> None:
    """Refuse a file of another length, and one whose end nobody could tell from a cut."""
    if wanted.size is not None and total is not None and total != wanted.size:
        raise MismatchError(
            f"{shown(answer.url)} has {total} bytes, expected {wanted.size}: it is another version "
            "or another file; nothing was fetched"
        )
    if total is None and not answer.is_chunked and (wanted.size, wanted.sha256) == (None, None):
        raise FetchError(
            f"{shown(answer.url)} comes without a length, so that a whole file cannot be told from "
            "a piece: give its --sha256, or use another source"
        )


def _opened(client: Client, url: str, headers: dict[str, str]) -> Answer:
    """The answer to a request, after Google Drive's question about large files if it comes."""
    answer = client.open(url, headers)
    questions = 0
    while answer.is_html and _is_drive(url, client.network):
        with answer:
            page = answer.page()
            behind = google_drive.confirmed(page, answer.url)
            questions += 1
            if behind is None or questions > 2:
                raise _drive_refuses(answer, page)
        answer = client.open(behind, headers)
    return answer


def _drive_refuses(answer: Answer, page: str) -> FetchError:
    why = google_drive.refusal(page)
    if why is None and answer.status != 200:
        return answer.refuse()
    return FetchError(
        why or "Google Drive sent a web page instead of the file: open the link in a browser"
    )


def _is_drive(url: str, network: Network) -> bool:
    return url.partition("?")[0] == network.drive


def _total(answer: Answer, part: Part, offset: int) -> int | None:
    """The length of the whole file, after checking that the answer fits what was asked."""
    encoding = answer.headers.get("Content-Encoding", "identity").lower()
    if answer.status in {200, 206} and encoding not in {"", "identity"}:
        raise FetchError(
            f"{shown(answer.url)} comes only compressed on the way ({printable(encoding)}), so "
            "that neither length nor hash can be checked: use another source"
        )
    if answer.status == 200:
        return answer.length
    if answer.status not in {206, 416} or not offset:
        raise answer.refuse()
    span = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
    )
    version = part.version()
    fits = (
        answer.status == 206
        and span is not None
        and span[1] is not None
        and int(span[1]) == offset
        and (version is None or version.total is None or span[2] == str(version.total))
        and (version is None or answer.headers.get("ETag") in {None, version.etag})
    )
    if not fits or span is None:
        part.discard()
        raise BrokenTransferError("the server cannot go on where it broke off, starting afresh")
    return None if span[2] == "*" else int(span[2])


def _head(chunks: Iterator[bytes]) -> bytes:
    """The first bytes of a body, enough to tell a web page from a file."""
    start = b""
    for data in chunks:
        start += data
        if len(start) >= _HEAD:
            break
    return start


def _check_is_file(answer: Answer, start: bytes, target: Path) -> None:
    """Refuse a web page, or the pointer of Git LFS, that came instead of the file."""
    head = start[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    looks = head.startswith((b"<!doctype html", b"<html"))
    if (answer.is_html or looks) and target.suffix.lower() not in _PAGES:
        text = start.decode("utf-8", "replace")
        found = re.search(r"<title[^>]*>(.*?)</title", text, re.S | re.I)
        title = f" ({printable(found[1].strip())[:100]!r})" if found else ""
        raise FetchError(
            f"{shown(answer.url)} sent a web page{title} instead of the file: the link may have "
            "expired, want a login, or lead to a page that links the file; open it in a browser "
            "and give the file's own link with --url"
        )
    if start.startswith(_LFS):
        raise FetchError(
            f"{shown(answer.url)} sent a Git LFS pointer instead of the file: on GitHub the file "
            "lies under https://media.githubusercontent.com/media/OWNER/REPOSITORY/COMMIT/PATH"
        )


def _check_space(path: Path, total: int | None, offset: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if total is not None and total - offset > free:
        raise OutputError(
            f"{printable(str(path.parent))} has {free} bytes free and {total - offset} are to "
            "come: free some space or choose another folder with --out"
        )


def _append(
    part: Part, start: bytes, chunks: Iterator[bytes], total: int | None, progress: Progress
) -> None:
    """Write what comes behind the part, up to `total` bytes and no fewer."""
    size = part.size()
    with part.path.open("ab") as file:
        for data in _chain(start, chunks):
            size += len(data)
            if total is not None and size > total:
                break
            file.write(data)
            progress.advance(len(data))
    if total is not None and size > total:
        part.discard()
        raise MismatchError(
            f"{printable(part.target.name)}: more than the expected {total} bytes came, so that "
            "it is another version or another file; nothing was kept"
        )
    if total is not None and size < total:
        raise BrokenTransferError(f"only {size} of {total} bytes came")


def _chain(start: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if start:
        yield start
    yield from chunks
