"""Archives: every kind unpacks, every attack is refused, and nothing of it is left."""

from __future__ import annotations

import errno
import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from camaudit.data import unpacking as module
from camaudit.data.unpacking import Limits, unpack
from camaudit.errors import ArchiveError, OutputError

FILES = {"a/one.txt": b"one", "a/b/two.bin": bytes(range(256)) * 50, "three": b""}


def tarred(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


def member(name: str, content: bytes = b"x", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def zipped(path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(archive: Path, why: str, limits: Limits | None = None) -> None:
    """The archive is refused, and the folder that it lies in is as it was."""
    before = content_of(archive.parent.parent)
    with pytest.raises(ArchiveError, match=why):
        unpack(archive, archive.parent / "out", limits=limits)
    assert content_of(archive.parent.parent) == before
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder inside the test's own, so that an escape upwards would be seen."""
    folder = tmp_path / "inside"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_every_kind_of_tar_unpacks(place: Path, kind: str) -> None:
    members = [member(f"./{name}", content, mode=0o6777) for name, content in FILES.items()]
    folder = member("./empty/", b"", type=tarfile.DIRTYPE)
    top = member("./", b"", type=tarfile.DIRTYPE)
    archive = tarred(place / "x", [top, *members, folder, folder], f"w:{kind}")
    done = unpack(archive, place / "new" / "out")
    assert content_of(done.folder) == FILES
    assert (done.files, done.size) == (3, sum(map(len, FILES.values())))
    assert (done.folder / "empty").is_dir()
    mode = (done.folder / "three").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)
    assert [path.name for path in (place / "new").iterdir()] == ["out"]


def test_a_zip_unpacks_whatever_it_is_called(place: Path) -> None:
    archive = zipped(place / "x.dat", [*FILES.items(), ("empty/", b"")])
    assert content_of(unpack(archive, place / "out").folder) == FILES
    assert (place / "out" / "empty").is_dir()


NAMES = {
    "/etc/evil": "absolute path",
    "C:/evil": "absolute path",
    "\\\\server\\evil": "absolute path",
    "../evil": r"leads outside with \.\.",
    "a/../../evil": r"leads outside with \.\.",
    "a\\..\\..\\evil": r"leads outside with \.\.",
    "a\\b": "no system reads alike",
    "a//b": "no system reads alike",
    "a\nb": "no system reads alike",
    "a/" + "n" * 300: "too long",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_outside_are_refused(place: Path, kind: str, name: str) -> None:
    if kind == "zip":
        archive = zipped(place / "x", [("good", b"x"), (zipfile.ZipInfo(name), b"x")])
    else:
        archive = tarred(place / "x", [member("good"), member(name)])
    refused(archive, NAMES[name])


CLASHES = {
    ("a", "a"): "'a' comes twice",
    ("a", "./a"): "'a' comes twice",
    ("a", "a/b"): "'a' comes twice",
    ("a/b", "a"): "'a' comes twice",
    ("Photo.png", "photo.PNG"): "one name where case",
    ("A/x", "a/y"): "one name where case",
    ("stra\u00dfe", "STRASSE"): "one name where case",
    ("caf\u00e9", "cafe\u0301"): "one name where case",
}


@pytest.mark.parametrize("names", CLASHES, ids="+".join)
@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_names_that_clash_are_refused(place: Path, kind: str, names: tuple[str, str]) -> None:
    if kind == "zip":
        archive = zipped(place / "x", [(name, b"x") for name in names])
    else:
        archive = tarred(place / "x", [member(name) for name in names])
    refused(archive, CLASHES[names])


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(place: Path, kind: bytes) -> None:
    link = member("a", b"", type=kind, linkname="/etc/passwd")
    refused(tarred(place / "x", [member("b"), link]), "a link, a device or a sparse file")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(place: Path, kind: int) -> None:
    info = zipfile.ZipInfo("a")
    info.external_attr = (kind | 0o777) << 16
    refused(zipped(place / "x", [("b", b"x"), (info, b"/etc/passwd")]), "a link or a device")


def test_a_link_that_a_later_member_would_write_through_is_refused(place: Path) -> None:
    through = [member("d", b"", type=tarfile.SYMTYPE, linkname=".."), member("d/evil")]
    refused(tarred(place / "x", through), "a link")


@pytest.mark.parametrize("kind", ["zip", "gz", "bz2", "xz"])
def test_a_bomb_is_refused(place: Path, kind: str) -> None:
    zeros = bytes(1 << 20)
    if kind == "zip":
        archive = zipped(place / "x", [(f"{index}", zeros) for index in range(3)])
    else:
        archive = tarred(place / "x", [member(f"{n}", zeros) for n in range(3)], f"w:{kind}")
    assert archive.stat().st_size < 3 * (1 << 20) / 100
    refused(archive, "decompression bomb")


def test_what_compresses_well_and_is_small_is_no_bomb(place: Path) -> None:
    archive = zipped(place / "x", [("zeros", bytes(500_000))])
    assert unpack(archive, place / "out").size == 500_000


def test_limits_on_size_and_members(place: Path) -> None:
    archive = zipped(place / "x", list(FILES.items()))
    refused(archive, "more than 100 bytes", Limits(size=100))
    refused(archive, "more than 2 members", Limits(members=2))


def test_a_header_that_claims_gigabytes_is_not_read_into_memory(place: Path) -> None:
    header = member("x", b"", type=tarfile.XHDTYPE)[0]
    header.size = 1 << 30
    raw = header.tobuf(tarfile.USTAR_FORMAT) + bytes(8 << 20)
    (place / "x").write_bytes(gzip.compress(raw))
    refused(place / "x", "too large")


def test_rubbish_without_end_behind_the_archive_is_refused(place: Path) -> None:
    archive = tarred(place / "y", [member("a")])
    (place / "x").write_bytes(gzip.compress(archive.read_bytes() + bytes(8 << 20)))
    archive.unlink()
    refused(place / "x", "what follows its end")


def test_a_sparse_file_is_refused(place: Path) -> None:
    info = member("a", b"", type=tarfile.GNUTYPE_SPARSE)[0]
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"77777777777\0"  # the size that it claims to have unpacked
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (place / "x").write_bytes(bytes(header) + bytes(10240))
    refused(place / "x", "a sparse file")


def test_an_encrypted_zip_is_refused(place: Path) -> None:
    archive = zipped(place / "x", [("a", b"x")])
    raw = bytearray(archive.read_bytes())
    directory = raw.index(b"PK\x01\x02")
    raw[directory + 8] |= 1
    archive.write_bytes(raw)
    refused(archive, "encrypted")


def test_a_zip_whose_directory_lies_about_a_size_is_refused(place: Path) -> None:
    archive = zipped(place / "x", [("a", b"x" * 1000)])
    raw = bytearray(archive.read_bytes())
    directory = raw.index(b"PK\x01\x02")
    raw[directory + 24 : directory + 28] = struct.pack("<I", 10)
    archive.write_bytes(raw)
    refused(archive, "damaged")


def test_a_zip_name_with_a_hidden_end_is_refused(place: Path) -> None:
    archive = zipped(place / "x", [("a.png?.exe", b"x")])
    archive.write_bytes(archive.read_bytes().replace(b"a.png?.exe", b"a.png\0.exe"))
    refused(archive, "no system reads alike")


@pytest.mark.parametrize("kind", ["zip", "tar", "gz", "bz2", "xz"])
def test_damaged_and_truncated_archives_are_refused(place: Path, kind: str) -> None:
    noise = bytes((index * index) >> 3 & 255 for index in range(100_000))

    def build() -> Path:
        if kind == "zip":
            return zipped(place / "x", [("a", noise)])
        return tarred(place / "x", [member("a", noise)], "w:" + kind.replace("tar", ""))

    archive = build()
    raw = archive.read_bytes()
    archive.write_bytes(raw[: len(raw) // 2])
    refused(archive, "damaged|length")
    if kind != "tar":  # a plain tar has no checksum of contents: the download's hash is for that
        middle = len(raw) // 2
        archive.write_bytes(raw[:middle] + bytes(16) + raw[middle + 16 :])
        refused(archive, "damaged")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x1f\x8b\x08rubbish", gzip.compress(b"text", mtime=0)]
)
def test_what_is_no_archive_is_refused(place: Path, content: bytes) -> None:
    (place / "x").write_bytes(content)
    refused(place / "x", "no archive|damaged")


def test_an_existing_folder_is_never_touched(place: Path) -> None:
    archive = zipped(place / "x", [("a", b"x")])
    (place / "out").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        unpack(archive, place / "out")


def stopped_by(error: BaseException) -> Callable[[int], None]:
    def stop(_handle: int) -> None:
        raise error

    return stop


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_full_disk_and_ctrl_c_leave_nothing(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    error: BaseException,
    seen: type[BaseException],
) -> None:
    archive = place / "x"
    if kind == "zip":
        zipped(archive, list(FILES.items()))
    else:
        tarred(archive, [member(name, content) for name, content in FILES.items()])
    monkeypatch.setattr(module.os, "fsync", stopped_by(error))
    with pytest.raises(seen):
        unpack(archive, place / "out")
    assert [path.name for path in place.iterdir()] == ["x"]


def test_a_disk_without_room_is_told_before_unpacking(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(place / "x", list(FILES.items()))
    usage = module.shutil.disk_usage(place)._replace(free=10)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(OutputError, match="has no space for"):
        unpack(archive, place / "out")
    assert [path.name for path in place.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\x80", "of an unknown kind .*version 12.8"),
        (b"\x05\0\0\0\0\0\0\0\0\0\0\0\x80\x01", b"\0\0\0\0\0\0\0\0\0\0\0\0\x80\x01",
         "has no name|damaged"),
    ],
)  # fmt: skip
def test_directories_that_zipfile_chokes_on(
    tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    """What fuzzing found: a version from the future, and an entry without a name."""
    path = zipped(tmp_path / "a.zip", [("three", b"x" * 9)])
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    with pytest.raises(ArchiveError, match=message):
        unpack(path, tmp_path / "out")
    assert [one.name for one in tmp_path.iterdir()] == ["a.zip"]
