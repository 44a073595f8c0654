"""From a list to files in a folder: trust on first use, mirrors, unpacking, one run at a time."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from camaudit.data.fetch_list import FetchFile, FetchList
from camaudit.data.fetching import (
    Fetched,
    choose,
    default_folder,
    describe,
    fetch,
    open_source,
    overview,
)
from camaudit.data.web import Network
from camaudit.errors import (
    ArchiveError,
    FetchError,
    MismatchError,
    OfflineError,
    OutputError,
    UsageError,
)
from tests.file_server import FileServer, Reply, stored

QUICK = Network(connect_timeout=1, read_timeout=0.5, retries=1, backoff=0.001, loopback_http=True)
ONE, TWO = b"the first version" * 100, b"another version!!" * 100


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def one(file: FetchFile, out: Path, **more: Any) -> Fetched:
    (fetched,) = fetch([file], out, network=QUICK, **more)
    return fetched


def archive(**files: bytes) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return memory.getvalue()


def test_the_first_download_is_trusted_and_its_hash_holds_from_then_on(
    server: FileServer, tmp_path: Path
) -> None:
    file = FetchFile("a.bin", f"{server.url}/a.bin?token=secret", licence="L", citation="C")
    server.answers["/a.bin"] = stored(ONE)
    assert one(file, tmp_path).note == "its hash is trusted from now on"
    record = json.loads((tmp_path / "fetched.json").read_text())
    entry = record["files"]["a.bin"]
    assert entry["sha256"] == sha(ONE)
    assert (entry["published"], entry["licence"], entry["citation"]) == (False, "L", "C")
    assert entry["url"] == f"{server.url}/a.bin"  # what may be a key is not written down
    before = (tmp_path / "fetched.json").read_bytes()
    assert "was there already" in one(file, tmp_path).note
    assert len(server.requests) == 1
    (tmp_path / "a.bin").unlink()
    assert one(file, tmp_path).note == "has the hash of the first time"
    (tmp_path / "a.bin").unlink()
    server.answers["/a.bin"] = stored(TWO, etag='"v2"')
    with pytest.raises(MismatchError, match=r"remove its entry from .*fetched\.json or give its"):
        one(file, tmp_path)
    assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin.rejected").read_bytes() == TWO
    assert json.loads(before)["files"]["a.bin"]["sha256"] == sha(ONE)
    assert json.loads((tmp_path / "fetched.json").read_text())["files"]["a.bin"] == (
        json.loads((tmp_path / "fetched.json").read_text())["files"]["a.bin"] | {"sha256": sha(ONE)}
    )
    assert one(replace(file, sha256=sha(TWO)), tmp_path).note == "has the published hash"
    assert one(file, tmp_path).sha256 == sha(TWO)  # which is trusted now


def test_another_length_than_the_first_time_is_a_mismatch_too(
    server: FileServer, tmp_path: Path
) -> None:
    file = FetchFile("a.bin", f"{server.url}/a.bin")
    server.answers["/a.bin"] = stored(ONE)
    one(file, tmp_path)
    (tmp_path / "a.bin").unlink()
    server.answers["/a.bin"] = stored(ONE + b"more")
    with pytest.raises(MismatchError, match="this is how the file was when it was first fetched"):
        one(file, tmp_path)


def test_a_mirror_must_bring_the_same_bytes(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = stored(ONE)
    server.answers["/mirror/a.bin"] = stored(TWO)
    server.answers["/good/a.bin"] = stored(ONE)
    found = FetchList("x", (FetchFile("a.bin", f"{server.url}/a.bin", sha256=sha(ONE)),))
    for mirror, right in (("mirror", False), ("good/", True)):
        (file,) = choose(found, mirror=f"{server.url}/{mirror}", loopback_http=True)
        if right:
            assert one(file, tmp_path).sha256 == sha(ONE)
        else:
            with pytest.raises(MismatchError):
                one(file, tmp_path)
    assert [request.path for request in server.requests] == ["/mirror/a.bin", "/good/a.bin"]


def test_a_file_put_there_by_hand_is_checked_and_taken(tmp_path: Path) -> None:
    file = FetchFile("a.bin", None, "https://example.org/", sha(ONE))
    with pytest.raises(UsageError, match=r"no URL is known for a\.bin: open https://example\.org/"):
        one(file, tmp_path)
    (tmp_path / "a.bin").write_bytes(ONE)
    assert "was there already" in one(file, tmp_path).note
    (tmp_path / "a.bin").write_bytes(TWO)
    with pytest.raises(OutputError, match="exists with the sha256"):
        one(file, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == TWO


def test_a_file_of_which_nothing_is_known_is_never_overwritten(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(TWO)
    server.answers["/a.bin"] = stored(ONE)
    with pytest.raises(OutputError, match="nothing says what its hash should be"):
        one(FetchFile("a.bin", f"{server.url}/a.bin"), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == TWO
    (tmp_path / "b.bin").mkdir()
    with pytest.raises(OutputError, match="is no file"):
        one(FetchFile("b.bin", f"{server.url}/a.bin", sha256=sha(ONE)), tmp_path)


def test_a_record_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"format": "x", "files": {}}',
                 '{"format": "camaudit-fetched-1", "files": {"a": {"url": "x"}}}'):  # fmt: skip
        (tmp_path / "fetched.json").write_text(text)
        with pytest.raises(UsageError, match="holds the hashes that are trusted"):
            one(FetchFile("a.bin", "https://example.org/a"), tmp_path)


def test_an_archive_is_unpacked_once(server: FileServer, tmp_path: Path) -> None:
    server.answers["/set.zip"] = stored(archive(a=b"1", b=b"2"))
    file = FetchFile("set.tar.zip", f"{server.url}/set.zip", unpack=True)
    left = tmp_path / ".set.tar.00.tmp"
    left.mkdir()  # of a run that was killed
    done = one(file, tmp_path)
    assert done.folder == tmp_path / "set.tar"
    assert sorted(path.name for path in done.folder.iterdir()) == ["a", "b"]
    assert not left.exists()
    (done.folder / "a").write_bytes(b"mine")
    assert one(file, tmp_path).folder == done.folder
    assert (done.folder / "a").read_bytes() == b"mine"


def test_an_unsafe_archive_stays_packed(server: FileServer, tmp_path: Path) -> None:
    server.answers["/set.zip"] = stored(archive(**{"../evil": b"1"}))
    file = FetchFile("set.zip", f"{server.url}/set.zip", unpack=True)
    out = tmp_path / "out"
    with pytest.raises(ArchiveError, match="leads outside"):
        one(file, out)
    assert sorted(path.name for path in out.iterdir()) == ["fetched.json", "set.zip"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(UsageError, match="cannot be unpacked: expected a name"):
        one(replace(file, name="set.pt"), out)


def test_a_list_stops_at_the_first_failure_and_goes_on_from_there(
    server: FileServer, tmp_path: Path
) -> None:
    server.answers["/a"] = stored(ONE)
    server.answers["/b"] = Reply(status=404)
    files = [FetchFile(name, f"{server.url}/{name}") for name in "ab"]
    with pytest.raises(FetchError, match="404"):
        list(fetch(files, tmp_path, network=QUICK))
    server.answers["/b"] = stored(TWO)
    done = list(fetch(files, tmp_path, network=QUICK))
    assert [each.sha256 for each in done] == [sha(ONE), sha(TWO)]
    assert len(server.requests) == 3


def test_offline_tells_where_to_put_the_file(tmp_path: Path) -> None:
    file = FetchFile("a.bin", "http://127.0.0.1:9/a", sha256=sha(ONE))
    with pytest.raises(OfflineError, match=r"or put it at .*a\.bin by hand, its hash is checked"):
        one(file, tmp_path)


def test_two_runs_into_one_folder_do_not_spoil_each_other(
    server: FileServer, tmp_path: Path
) -> None:
    pytest.importorskip("fcntl", reason="folders are locked on POSIX alone")
    server.answers["/a"] = stored(ONE)
    server.answers["/b"] = stored(TWO)
    running = fetch(
        [FetchFile(name, f"{server.url}/{name}") for name in "ab"], tmp_path, network=QUICK
    )
    next(running)
    with pytest.raises(OutputError, match="another camaudit is fetching into"):
        one(FetchFile("c", f"{server.url}/a"), tmp_path)
    assert len(list(running)) == 1
    assert one(FetchFile("c", f"{server.url}/a"), tmp_path)


def test_a_url_is_a_list_of_one_file(server: FileServer) -> None:
    url = f"{server.url}/data/set.zip?x=1"
    (file,) = open_source(url, network=QUICK, unpack=True).files
    assert (file.name, file.url, file.unpack) == ("set.zip", url, True)
    (file,) = open_source(url, network=QUICK, name="b.zip").files
    assert (file.name, file.unpack) == ("b.zip", False)
    with pytest.raises(UsageError, match="give --name FILE"):
        open_source(f"{server.url}/", network=QUICK)
    with pytest.raises(UsageError, match="--name goes with a URL"):
        open_source("see-through-walls", name="x")
    with pytest.raises(UsageError, match="expected an https URL"):
        open_source(url)
    found = open_source("see-through-walls", unpack=False)
    assert not any(file.unpack for file in found.files)
    assert default_folder(url) == Path("datasets/downloads")
    assert default_folder("lists/mine.toml") == Path("datasets/mine")


def test_choosing_says_what_is_wrong() -> None:
    found = open_source("see-through-walls")
    with pytest.raises(UsageError, match="--only: expected some of params_vgg16_masked"):
        choose(found, only=["x"])
    with pytest.raises(UsageError, match="--url is for one file, and 3 are to be fetched"):
        choose(found, url="https://example.org/a")
    with pytest.raises(UsageError, match="--sha256: expected 64"):
        choose(found, only=["datasets.zip"], sha256="x")
    with pytest.raises(UsageError, match="expected an https URL"):
        choose(found, mirror="http://example.org")
    (file,) = choose(found, only=["datasets.zip"], url="https://example.org/a", sha256="AB" * 32)
    assert (file.url, file.sha256) == ("https://example.org/a", "ab" * 32)
    assert file.unpack


def test_nothing_is_written_for_a_file_without_a_url(tmp_path: Path) -> None:
    found = open_source("see-through-walls")
    with pytest.raises(UsageError, match=r"no URL is known for datasets\.zip"):
        list(fetch(choose(found), tmp_path / "out", network=QUICK))
    assert not (tmp_path / "out").exists()


def test_what_is_known_can_be_read() -> None:
    assert "see-through-walls: The authors' checkpoints" in overview()
    text = describe(open_source("see-through-walls"))
    assert "params_vgg16_masked.pt: 959763686 bytes" in text
    assert "not published: the first download is trusted" in text
    assert "no URL is known: see https://drive.google.com/drive/folders/" in text
