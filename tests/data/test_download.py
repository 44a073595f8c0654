"""Downloads from a real server: whole, broken, refused, changed, too slow."""

from __future__ import annotations

import errno
import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import IO, Any

import pytest

from camaudit.data import download as module
from camaudit.data.download import Downloaded, Silent, download, served_name
from camaudit.data.web import Network, check_url, shown
from camaudit.errors import (
    BrokenTransferError,
    FetchError,
    MismatchError,
    OfflineError,
    OutputError,
    UsageError,
)
from tests.file_server import FileServer, Reply, Request, stored

BODY = bytes(range(256)) * 4000  # one megabyte that is no web page
SHA = hashlib.sha256(BODY).hexdigest()
QUICK = Network(
    connect_timeout=1, read_timeout=0.3, retries=3, backoff=0.001, loopback_http=True
)  # fmt: skip
PAGE = b"<!DOCTYPE html><html><head><title>Please log in</title></head></html>"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class Told(Silent):
    """Remembers what was reported, and may do something after some bytes."""

    def __init__(self, after: int | None = None, error: BaseException | None = None) -> None:
        self.stages: list[str] = []
        self.works: list[int] = []
        self.done = 0
        self._after, self._error = after, error

    def start(self, work: int) -> None:
        self.works.append(work)

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def advance(self, work: int) -> None:
        self.done += work
        if self._error and self._after is not None and self.done >= self._after:
            raise self._error


def test_a_whole_file_arrives_and_nothing_else(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = stored(BODY)
    told = Told()
    got = download(
        f"{server.url}/a.bin", tmp_path / "new" / "a.bin", sha256=SHA, size=len(BODY),
        network=QUICK, progress=told,
    )  # fmt: skip
    assert got == Downloaded(tmp_path / "new" / "a.bin", SHA, len(BODY), 0)
    assert got.path.read_bytes() == BODY
    assert names(got.path.parent) == {"a.bin"}
    assert told.works == [len(BODY)]
    assert told.done == len(BODY)
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_a_cut_connection_is_resumed_where_it_broke_off(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = stored(BODY, cuts=(300_000, 200_000))
    got = download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert got.path.read_bytes() == BODY
    asked = [request.headers.get("Range") for request in server.requests]
    assert asked == [None, "bytes=300000-", "bytes=500000-"]
    assert server.requests[1].headers["If-Range"] == '"v1"'


def test_a_later_run_goes_on_from_the_part(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = stored(BODY, cuts=(300_000, 0, 0, 0))
    with pytest.raises(FetchError, match="300000 bytes are kept"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert names(tmp_path) == {"a.bin.part", "a.bin.part.json"}
    told = Told()
    got = download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK, progress=told)
    assert got.resumed == 300_000
    assert got.sha256 == SHA
    assert told.works == [len(BODY) - 300_000]  # the ETA is that of what is left
    assert names(tmp_path) == {"a.bin"}


def test_a_part_that_is_complete_already_needs_no_server(tmp_path: Path) -> None:
    url = "https://nowhere.invalid/a.bin"
    (tmp_path / "a.bin.part").write_bytes(BODY)
    (tmp_path / "a.bin.part.json").write_text(
        json.dumps({"url": url, "etag": '"v1"', "modified": None, "total": len(BODY)})
    )
    assert download(url, tmp_path / "a.bin", network=QUICK).sha256 == SHA


def test_another_etag_starts_afresh(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = stored(BODY, cuts=(300_000, 0, 0, 0))
    with pytest.raises(FetchError):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    changed = BODY[::-1]
    server.answers["/a.bin"] = stored(changed, etag='"v2"', cuts=(100_000,))
    got = download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert got.path.read_bytes() == changed


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_validator_a_later_run_starts_afresh(
    server: FileServer, tmp_path: Path, etag: str | None
) -> None:
    server.answers["/a.bin"] = stored(BODY, etag=etag, cuts=(300_000,))
    with pytest.raises(FetchError):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=replace(QUICK, retries=0))
    got = download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert (got.sha256, got.resumed) == (SHA, 0)
    assert "Range" not in server.requests[-1].headers


def test_parts_that_do_not_fit_are_found_by_the_hash_and_fetched_afresh(
    server: FileServer, tmp_path: Path
) -> None:
    url = f"{server.url}/a.bin"
    server.answers["/a.bin"] = stored(BODY)
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    (tmp_path / "a.bin.part.json").write_text(json.dumps({"url": url, "etag": '"v1"'}))
    got = download(url, tmp_path / "a.bin", sha256=SHA, network=QUICK)
    assert (got.sha256, got.resumed) == (SHA, 0)


def test_a_part_longer_than_the_file_and_a_note_that_is_broken_start_afresh(
    server: FileServer, tmp_path: Path
) -> None:
    url = f"{server.url}/a.bin"
    server.answers["/a.bin"] = [
        Reply(status=416, headers={"Content-Range": f"bytes */{len(BODY)}"}),
        Reply(BODY),
    ]
    (tmp_path / "a.bin.part").write_bytes(BODY + b"more")
    (tmp_path / "a.bin.part.json").write_text(json.dumps({"url": url, "etag": '"v1"'}))
    assert download(url, tmp_path / "a.bin", network=QUICK).sha256 == SHA
    (tmp_path / "b.bin.part").write_bytes(b"x")
    (tmp_path / "b.bin.part.json").write_text("{")
    assert download(url, tmp_path / "b.bin", network=QUICK).sha256 == SHA


def test_a_wrong_hash_is_kept_apart_and_never_put_in_place(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers["/a.bin"] = stored(BODY)
    with pytest.raises(MismatchError, match=r"a\.bin\.rejected and was not put in place") as caught:
        download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256="0" * 64, network=QUICK)
    assert SHA in str(caught.value)
    assert names(tmp_path) == {"a.bin.rejected"}


def test_a_wrong_size_is_refused_before_a_byte_is_written(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers["/a.bin"] = stored(BODY)
    with pytest.raises(MismatchError, match=f"has {len(BODY)} bytes, expected 5"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", size=5, network=QUICK)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_instead_of_the_file_is_told(
    server: FileServer, tmp_path: Path, kind: str
) -> None:
    server.answers["/a.bin"] = Reply(PAGE, headers={"Content-Type": kind})
    with pytest.raises(FetchError, match=r"sent a web page \('Please log in'\) instead"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert names(tmp_path) == set()
    assert download(f"{server.url}/a.bin", tmp_path / "a.html", network=QUICK).size == len(PAGE)


def test_a_git_lfs_pointer_instead_of_the_file_is_told(server: FileServer, tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    server.answers["/a.bin"] = Reply(pointer)
    with pytest.raises(FetchError, match="Git LFS pointer instead of the file"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert names(tmp_path) == set()


def test_a_body_that_is_always_truncated_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = Reply(BODY, cut=1000)  # knows no Range, so it never gets further
    with pytest.raises(FetchError, match=r"not complete.*gave up after 4 tries"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert "a.bin" not in names(tmp_path)
    assert len(server.requests) == 4  # the first one gained bytes, three retries did not


def test_a_body_without_a_length_needs_a_hash_or_comes_in_pieces(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers["/a.bin"] = Reply(BODY, length=False)
    with pytest.raises(FetchError, match="comes without a length"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256=SHA, network=QUICK)
    server.answers["/a.bin"] = Reply(BODY, length=False, cut=1000)
    with pytest.raises(MismatchError):
        download(f"{server.url}/a.bin", tmp_path / "b.bin", sha256=SHA, network=QUICK)
    pieces = b"5\r\nhello\r\n0\r\n\r\n"
    server.answers["/c"] = Reply(pieces, length=False, headers={"Transfer-Encoding": "chunked"})
    assert download(f"{server.url}/c", tmp_path / "c", network=QUICK).size == 5
    cut = Reply(pieces[:8], length=False, headers={"Transfer-Encoding": "chunked"})
    server.answers["/d"] = cut
    with pytest.raises(FetchError, match="not complete"):
        download(f"{server.url}/d", tmp_path / "d", network=replace(QUICK, retries=0))
    endless = Reply(BODY, length=False)
    server.answers["/e"] = endless
    with pytest.raises(MismatchError, match="more than the expected 10 bytes"):
        download(f"{server.url}/e", tmp_path / "e", size=10, network=QUICK)


def test_a_body_that_is_compressed_on_the_way_is_refused(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers["/a.bin"] = Reply(BODY, headers={"Content-Encoding": "gzip"})
    with pytest.raises(FetchError, match="only compressed on the way"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)


@pytest.mark.parametrize(
    ("status", "why"),
    [(404, "no such file"), (401, "wants a login"), (403, "forbids"), (418, "418")],
)
def test_a_refusal_is_final(server: FileServer, tmp_path: Path, status: int, why: str) -> None:
    server.answers["/a.bin"] = Reply(b"no", status)
    with pytest.raises(FetchError, match=why):
        download(f"{server.url}/a.bin?token=secret", tmp_path / "a.bin", network=QUICK)
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again_after_the_time_it_wants(
    server: FileServer, tmp_path: Path
) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server.answers["/a.bin"] = [
        Reply(status=429, headers={"Retry-After": "7"}),
        Reply(status=500),
        Reply(status=503, headers={"Retry-After": soon}),
        Reply(BODY),
    ]
    waits: list[float] = []
    told = Told()
    network = replace(QUICK, sleep=waits.append)
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", network=network, progress=told)
    assert waits[:2] == [7.0, 0.002]
    assert 25 < waits[2] <= 30
    assert any("answers 429; trying again in 7 s" in text for text in told.stages)


def test_a_server_that_wants_to_wait_for_hours_ends_the_download(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers["/a.bin"] = Reply(status=429, headers={"Retry-After": "7200"})
    with pytest.raises(FetchError, match="asks to come back in 7200 s"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert len(server.requests) == 1


def test_a_server_that_does_not_answer_in_time(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = Reply(BODY, delay=0.6)
    network = replace(QUICK, retries=1, read_timeout=0.1)
    with pytest.raises(FetchError, match=r"did not answer within 0\.1 s; gave up after 2 tries"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=network)


def test_a_body_that_drips_counts_as_broken_off(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = Reply(bytes(1000), drip=0.02)
    network = replace(QUICK, retries=0, stall=0.2)
    with pytest.raises(FetchError, match=r"only \d+ bytes came in"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=network)


@pytest.mark.parametrize(
    "target", ["http://example.org/a.bin", "ftp://example.org/a.bin", "file:///etc/passwd",
               "https://user:pa55@example.org/a.bin", "https://[bad/a.bin"]
)  # fmt: skip
def test_a_redirect_away_from_https_is_refused(
    server: FileServer, tmp_path: Path, target: str
) -> None:
    server.answers["/a.bin"] = Reply(status=302, headers={"Location": target})
    with pytest.raises(FetchError, match=r"redirects to .* which is refused") as caught:
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert "pa55" not in str(caught.value)


def test_redirects_are_followed_and_circles_are_not(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = Reply(status=301, headers={"Location": "/b/../c.bin"})
    server.answers["/c.bin"] = stored(BODY, cuts=(1000,))
    server.answers["/round"] = Reply(status=302, headers={"Location": "/round"})
    server.answers["/long"] = Reply(bytes(999), 302, {"Location": "/c.bin"}, drip=0.2)
    got = download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert got.sha256 == SHA
    assert server.requests[-1].headers["Range"] == "bytes=1000-"
    with pytest.raises(FetchError, match="redirects more than"):
        download(f"{server.url}/round", tmp_path / "r", network=QUICK)
    assert download(f"{server.url}/long", tmp_path / "l", network=QUICK).sha256 == SHA


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "http://127.0.0.1/a", "https:///a", "https://u:p@example.org/a",
            "https://example.org/a b", "https://example.org:port/a", "example.org/a"]
)  # fmt: skip
def test_only_plain_https_urls_are_fetched(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected an https URL"):
        download(url, tmp_path / "a", network=Network())
    assert names(tmp_path) == set()


def test_loopback_http_admits_this_machine_alone() -> None:
    assert check_url("http://[::1]:80/a", loopback_http=True)
    with pytest.raises(UsageError):
        check_url("http://127.0.0.1.example.org/a", loopback_http=True)
    assert (
        shown("https://user:word@example.org:8080/a?key=secret#x") == "https://example.org:8080/a"
    )


def test_offline_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unresolved(*_arguments: Any, **_options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    waits: list[float] = []
    with pytest.raises(OfflineError, match=r"cannot reach example\.org: its name is not resolved"):
        download(
            "https://example.org/a", tmp_path / "a", network=replace(QUICK, sleep=waits.append)
        )
    assert waits == []
    assert names(tmp_path) == set()


def test_a_closed_port_and_a_proxy_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OfflineError, match="no connection"):
        download(f"http://127.0.0.1:{port}/a", tmp_path / "a", network=QUICK)
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:pa55@127.0.0.1:{port}")
    monkeypatch.setenv("https_proxy", f"http://me:pa55@127.0.0.1:{port}")
    with pytest.raises(OfflineError, match="the proxy does not let it through") as caught:
        download("https://example.org/a", tmp_path / "a", network=QUICK)
    assert "pa55" not in str(caught.value)


def test_the_network_going_away_midway_is_waited_for(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = stored(BODY, cuts=(300_000,))
    real = socket.getaddrinfo

    def away(*_arguments: Any, **_options: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    waits: list[float] = []
    with pytest.MonkeyPatch.context() as patch:

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            patch.setattr(socket, "getaddrinfo", away if len(waits) < 3 else real)

        network = replace(QUICK, sleep=sleep)
        assert download(f"{server.url}/a.bin", tmp_path / "a.bin", network=network).sha256 == SHA
    assert len(waits) == 3


def test_a_full_disk_keeps_what_came(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/a.bin"] = stored(BODY)
    opened = Path.open

    class Full:
        """A file on a disk that has room for 400000 bytes."""

        def __init__(self, file: IO[bytes]) -> None:
            self.file, self.room = file, 400_000

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_error: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            self.room -= len(data)
            if self.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

    def narrow(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        file = opened(path, mode, *rest, **more)
        return Full(file) if mode == "ab" else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", narrow)
        with pytest.raises(OutputError, match=r"No space left on device.*same command goes on"):
            download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert names(tmp_path) == {"a.bin.part", "a.bin.part.json"}
    got = download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert got.sha256 == SHA
    assert got.resumed > 0


def test_a_disk_without_room_is_told_before_the_first_byte(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/a.bin"] = stored(BODY)
    usage = module.shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(OutputError, match="has 10 bytes free and 1024000 are to come"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)


def test_ctrl_c_keeps_the_part_and_the_next_run_goes_on(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = stored(BODY)
    told = Told(after=300_000, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK, progress=told)
    kept = (tmp_path / "a.bin.part").read_bytes()
    assert len(kept) >= 300_000
    assert BODY.startswith(kept)
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK).resumed == len(kept)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_stopped_midway_leaves_a_part_that_goes_on(
    server: FileServer, tmp_path: Path, how: signal.Signals
) -> None:
    server.answers["/a.bin"] = [Reply(BODY, headers={"ETag": '"v1"'}, cut=600_000, hang=5)]
    code = (  # whoever runs the tests in the background has SIGINT ignored, also by this process
        "import sys, pathlib, signal; from camaudit.data.download import download; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from camaudit.data.web import Network; "
        "download(sys.argv[1], pathlib.Path(sys.argv[2]), network=Network(loopback_http=True))"
    )
    part = tmp_path / "a.bin.part"
    with subprocess.Popen(
        [sys.executable, "-c", code, f"{server.url}/a.bin", str(tmp_path / "a.bin")],
        stderr=subprocess.DEVNULL,
    ) as process:
        until = time.monotonic() + 20
        while not (part.is_file() and part.stat().st_size) and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(how)
    kept = part.read_bytes()
    assert kept
    assert BODY.startswith(kept)
    assert names(tmp_path) == {"a.bin.part", "a.bin.part.json"}
    server.answers["/a.bin"] = stored(BODY)
    got = download(f"{server.url}/a.bin", tmp_path / "a.bin", network=QUICK)
    assert (got.sha256, got.resumed) == (SHA, len(kept))


CONFIRM = """<html><head><title>Google Drive - Virus scan warning</title></head><body>
<form id="search" action="/other"><input type="hidden" name="no" value="1"></form>
<form id="download-form" action="{action}" method="get">
<input type="hidden" name="id" value="abcdefghijk"><input type="hidden" name="export"
value="download"><input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid"
value="1-2"><input type="submit" value="Download anyway"></form></body></html>"""
LINK = "https://drive.google.com/file/d/abcdefghijk/view?usp=sharing"


def drive(server: FileServer, *, action: str = "/download", cuts: tuple[int, ...] = ()) -> Network:
    """A server that asks about large files as Google Drive does."""
    file = stored(BODY, cuts=cuts, **{"Content-Disposition": 'attachment; filename="big set.zip"'})

    def answer(request: Request) -> Reply:
        if "confirm=t&uuid=1-2" in request.path:
            return file(request)
        page = CONFIRM.format(action=action).encode()
        return Reply(page, headers={"Content-Type": "text/html; charset=utf-8"})

    server.answers["/download"] = answer
    return replace(QUICK, drive=f"{server.url}/download")


def test_a_large_file_on_google_drive_comes_through_the_confirm_page(
    server: FileServer, tmp_path: Path
) -> None:
    network = drive(server, cuts=(300_000,))
    got = download(LINK, tmp_path / "a.bin", network=network)
    assert got.sha256 == SHA
    assert [request.headers.get("Range") for request in server.requests] == [
        None, None, "bytes=300000-", "bytes=300000-",
    ]  # fmt: skip
    assert served_name(LINK, network=network) == "big set.zip"


@pytest.mark.parametrize("action", ["https://evil.example/download", "http://10.0.0.1/download"])
def test_a_confirm_page_that_leads_elsewhere_is_not_followed(
    server: FileServer, tmp_path: Path, action: str
) -> None:
    with pytest.raises(FetchError, match="web page instead of the file"):
        download(LINK, tmp_path / "a.bin", network=drive(server, action=action))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("page", "status", "why"),
    [
        ("Google Drive - Quota exceeded. Too many users have viewed it", 200, "again tomorrow"),
        ("<a href='https://accounts.google.com/x'>Sign in</a>", 200, "asks for a login"),
        ("<html>something new</html>", 200, "web page instead of the file"),
        ("<html>not found</html>", 404, "no such file"),
    ],
)
def test_what_google_drive_says_instead_is_explained(
    server: FileServer, tmp_path: Path, page: str, status: int, why: str
) -> None:
    server.answers["/download"] = Reply(page.encode(), status, {"Content-Type": "text/html"})
    with pytest.raises(FetchError, match=why):
        download(LINK, tmp_path / "a", network=replace(QUICK, drive=f"{server.url}/download"))
    assert names(tmp_path) == set()


def test_a_confirm_page_without_end_is_given_up(server: FileServer, tmp_path: Path) -> None:
    page = CONFIRM.format(action="/download").encode()
    server.answers["/download"] = Reply(page, headers={"Content-Type": "text/html"})
    with pytest.raises(FetchError, match="web page instead of the file"):
        download(LINK, tmp_path / "a", network=replace(QUICK, drive=f"{server.url}/download"))
    assert len(server.requests) == 3


def test_names_that_servers_give_are_plain(server: FileServer) -> None:
    given = {
        'attachment; filename="../../x.zip"': "x.zip",
        "attachment; filename*=UTF-8''na%C3%AFve%2Fy.zip": "y.zip",
        'attachment; filename=".."': None,
        "attachment": None,
    }
    network = replace(QUICK, drive=f"{server.url}/download")
    for header, name in given.items():
        server.answers["/download"] = Reply(b"x", headers={"Content-Disposition": header})
        assert served_name(LINK, network=network) == name
    assert served_name("https://example.org/a%20b.zip?x=1") == "a b.zip"
    assert served_name("https://example.org/") is None


def test_a_connection_error_is_retried_and_then_told(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        seen: list[int] = []

        def slam() -> None:
            for _ in range(2):
                connection, _address = listening.accept()
                connection.recv(100)
                connection.close()
                seen.append(1)

        thread = threading.Thread(target=slam)
        thread.start()
        port = listening.getsockname()[1]
        with pytest.raises(FetchError, match="closed the connection without an answer") as caught:
            download(
                f"http://127.0.0.1:{port}/a", tmp_path / "a", network=replace(QUICK, retries=1)
            )
        thread.join()
    assert len(seen) == 2
    assert isinstance(caught.value.__cause__, BrokenTransferError)


def test_a_server_that_ignores_if_range_does_not_mix_two_versions(
    server: FileServer, tmp_path: Path
) -> None:
    url, changed = f"{server.url}/a.bin", BODY[::-1]
    (tmp_path / "a.bin.part").write_bytes(BODY[:1000])
    (tmp_path / "a.bin.part.json").write_text(json.dumps({"url": url, "etag": '"v1"'}))
    span = f"bytes 1000-{len(BODY) - 1}/{len(BODY)}"
    server.answers["/a.bin"] = [
        Reply(changed[1000:], 206, {"ETag": '"v2"', "Content-Range": span}),
        Reply(changed, headers={"ETag": '"v2"'}),
    ]
    assert download(url, tmp_path / "a.bin", network=QUICK).path.read_bytes() == changed


def test_a_part_without_a_validator_is_not_promised_to_go_on(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers["/a.bin"] = Reply(BODY, cut=1000)
    with pytest.raises(FetchError) as caught:
        download(f"{server.url}/a.bin", tmp_path / "a.bin", network=replace(QUICK, retries=0))
    assert "goes on from there" not in str(caught.value)
