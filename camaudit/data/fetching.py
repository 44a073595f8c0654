"""From a name, a list or a URL to checked files in a folder: `camaudit data fetch`."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from camaudit.data import google_drive
from camaudit.data.download import Progress, Silent, digest, download, served_name
from camaudit.data.fetch_list import (
    FetchFile,
    FetchList,
    check_name,
    check_sha256,
    find_list,
    known_lists,
    read_fetch_list,
)
from camaudit.data.fetched import RECORD_NAME, Entry, Record
from camaudit.data.folders import printable
from camaudit.data.unpacking import SUFFIXES, Limits, unpack
from camaudit.data.web import Network, check_url, shown
from camaudit.errors import FetchError, MismatchError, OfflineError, OutputError, UsageError
from camaudit.files import alone, made_folder

__all__ = ["Fetched", "choose", "default_folder", "describe", "fetch", "open_source", "overview"]

Bars = Callable[[], AbstractContextManager[Progress]]
"""Makes one progress display for one file."""


@dataclass(frozen=True)
class Fetched:
    """A file that is in place and has the right hash; `note` says how that is known."""

    path: Path
    sha256: str
    size: int
    note: str
    folder: Path | None = None


def open_source(
    source: str,
    *,
    name: str | None = None,
    unpack: bool | None = None,
    network: Network | None = None,
) -> FetchList:
    """The files behind a known name, the path of a list, or the URL of one file.

    `name` (of a URL alone) is what the file is to be called; by default the last piece of the URL,
    or what Google Drive calls it. `unpack` overrides the list's own choice.

    Raises UsageError for a source that is none, and as `camaudit.data.download.served_name`.
    """
    network = network or Network()
    if "://" not in source:
        if name is not None:
            raise UsageError("--name goes with a URL; the files of a list have their names")
        found = read_fetch_list(find_list(source))
        if unpack is None:
            return found
        return replace(found, files=tuple(replace(each, unpack=unpack) for each in found.files))
    check_url(source, loopback_http=network.loopback_http)
    called = name or served_name(source, network=network)
    if called is None:
        raise UsageError(f"{shown(source)} does not say what the file is called: give --name FILE")
    file = FetchFile(check_name(called, "--name" if name else "the URL"), source)
    return FetchList(shown(source), (replace(file, unpack=bool(unpack)),))


def choose(
    found: FetchList,
    *,
    only: Sequence[str] = (),
    url: str | None = None,
    sha256: str | None = None,
    mirror: str | None = None,
    loopback_http: bool = False,
) -> tuple[FetchFile, ...]:
    """The files that are to be fetched, and from where.

    `only` names some of them. `url` and `sha256` are for exactly one and replace what the list
    says. With `mirror` every file comes from `MIRROR/NAME` instead; hashes hold all the same.

    Raises:
        UsageError: if a name is not in the list, a URL is impossible, or a file has no URL.
    """
    names = [file.name for file in found.files]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise UsageError(f"--only: expected some of {', '.join(names)}; got {unknown[0]!r}")
    files = [file for file in found.files if not only or file.name in only]
    if (url or sha256) and len(files) != 1:
        option = "--url" if url else "--sha256"
        raise UsageError(
            f"{option} is for one file, and {len(files)} are to be fetched: choose one with "
            f"--only NAME (of {', '.join(names)})"
        )
    if url:
        check_url(url, loopback_http=loopback_http)
        files = [replace(files[0], url=url)]
    if sha256:
        files = [replace(files[0], sha256=check_sha256(sha256), size=None)]
    if mirror:
        base = check_url(mirror, loopback_http=loopback_http).rstrip("/")
        files = [replace(file, url=f"{base}/{quote(file.name)}") for file in files]
    return tuple(files)


def fetch(
    files: Sequence[FetchFile],
    out: Path,
    *,
    network: Network | None = None,
    limits: Limits | None = None,
    bars: Bars | None = None,
) -> Iterator[Fetched]:
    """Bring the files into the folder `out`, one after the other, and unpack what is to be.

    A file that is there with the right hash is not fetched again. A hash that nobody has published
    is written down in `out/fetched.json` the first time and must hold from then on.

    Raises:
        UsageError: if a file has no URL, cannot be unpacked by its name, or the record is unusable.
        OutputError: if another file stands in a file's place, the folder is in use or full.
        FetchError: as `camaudit.data.download.download` and `camaudit.data.unpacking.unpack`.
    """
    network = network or Network()
    for file in files:  # nothing is written for what cannot be fetched
        if file.url is None and not (out / file.name).exists():
            raise _no_url(file, alone=len(files) == 1)
        if file.unpack:
            _stem(file)
    with alone(made_folder(out), "fetching into"):
        record = Record(out)
        for file in files:
            with bars() if bars else nullcontext(Silent()) as progress:
                fetched = _one(file, out, record, network, progress)
                fetched = _unpacked(fetched, file, record, limits, progress)
            yield fetched


def default_folder(source: str) -> Path:
    """Where files go without --out: a folder of `datasets/` with the list's name."""
    return Path("datasets") / ("downloads" if "://" in source else Path(source).stem)


def overview() -> str:
    """The lists that are known by name, as plain text."""
    lists = {name: read_fetch_list(path) for name, path in known_lists().items()}
    lines = [f"{name}: {found.title} (files: {len(found.files)})" for name, found in lists.items()]
    return "\n".join(lines or ["no list is known by name"])


def describe(found: FetchList) -> str:
    """The files of a list with all that is known of them, as plain text."""
    lines = [printable(found.title)]
    for file in found.files:
        size = f"{file.size} bytes" if file.size else "size not published"
        where = file.url or f"no URL is known: see {file.page}, then give --url"
        lines += [
            "",
            f"{file.name}: {size}{', unpacked' if file.unpack else ''}",
            f"  from     {printable(where)}",
            f"  sha256   {file.sha256 or 'not published: the first download is trusted'}",
            f"  licence  {printable(file.licence or 'not stated')}",
            f"  cite     {printable(file.citation or 'not stated')}",
        ]
    return "\n".join(lines)


def _one(
    file: FetchFile, out: Path, record: Record, network: Network, progress: Progress
) -> Fetched:
    """One file in place, and its entry in the record."""
    earlier = record.entries.get(file.name)
    expected = file.sha256 or (earlier.sha256 if earlier else None)
    target = out / file.name
    if target.exists() or target.is_symlink():
        return _present(file, target, record, expected, progress)
    if file.url is None:
        raise _no_url(file, alone=True)
    size = file.size if file.size or file.sha256 or not earlier else earlier.size
    try:
        got = download(
            file.url, target, sha256=expected, size=size, network=network, progress=progress
        )
    except FetchError as error:
        raise _explained(error, file, earlier, target) from error
    _put(record, file, got.sha256, got.size)
    note = "has the published hash"
    if file.sha256 is None:
        note = "has the hash of the first time" if earlier else "its hash is trusted from now on"
    return Fetched(target, got.sha256, got.size, note)


def _present(
    file: FetchFile, target: Path, record: Record, expected: str | None, progress: Progress
) -> Fetched:
    """A file that is there already, if it is the right one."""
    shown_path = printable(str(target))
    if expected is None:
        raise OutputError(
            f"{shown_path} exists, and nothing says what its hash should be: move it away, or give "
            "its --sha256 to take it as it is"
        )
    if not target.is_file():
        raise OutputError(f"{shown_path} exists and is no file: move it away")
    progress.stage(f"{printable(file.name)}: checking the hash")
    try:
        found, size = digest(target), target.stat().st_size
    except OSError as error:
        raise OutputError(f"{shown_path} cannot be read: {error.strerror}") from error
    if found != expected:
        raise OutputError(
            f"{shown_path} exists with the sha256 {found}, expected {expected}: it was changed or "
            "is another version; move it away, and the same command fetches it anew"
        )
    if file.name not in record.entries or file.sha256 is not None:
        _put(record, file, found, size)
    return Fetched(target, found, size, "was there already and has the right hash")


def _put(record: Record, file: FetchFile, sha256: str, size: int) -> None:
    earlier = record.entries.get(file.name)
    same = earlier is not None and earlier.sha256 == sha256
    entry = Entry(
        url=_origin(file),
        sha256=sha256,
        size=size,
        published=file.sha256 is not None or bool(same and earlier and earlier.published),
        fetched=datetime.now(UTC).isoformat(timespec="seconds"),
        unpacked=earlier.unpacked if same and earlier else None,
        licence=file.licence,
        citation=file.citation,
    )
    if not (same and earlier and replace(entry, fetched=earlier.fetched) == earlier):
        record.put(file.name, entry)


def _origin(file: FetchFile) -> str:
    """The URL for the record: without its query, save for the id that is all of a Drive link."""
    if file.url is None:
        return f"by hand, see {file.page}"
    return google_drive.direct(file.url, "https://drive.google.com/uc") or shown(file.url)


def _unpacked(
    fetched: Fetched, file: FetchFile, record: Record, limits: Limits | None, progress: Progress
) -> Fetched:
    """Unpack beside the archive, unless this very archive was unpacked there before."""
    if not file.unpack:
        return fetched
    folder = fetched.path.with_name(_stem(file))
    entry = record.entries[file.name]
    if not (entry.unpacked == folder.name and folder.is_dir()):
        progress.stage(f"unpacking {printable(file.name)}")
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)  # from a run that was killed
        unpack(fetched.path, folder, limits=limits)
        record.put(file.name, replace(entry, unpacked=folder.name))
    return replace(fetched, folder=folder)


def _stem(file: FetchFile) -> str:
    """The name of the folder that an archive is unpacked into."""
    lowered = file.name.lower()
    ending = max((end for end in SUFFIXES if lowered.endswith(end)), key=len, default="")
    if len(ending) in {0, len(file.name)}:
        raise UsageError(
            f"{printable(file.name)} cannot be unpacked: expected a name that ends in one of "
            f"{', '.join(SUFFIXES)}"
        )
    return file.name[: -len(ending)]


def _explained(
    error: FetchError, file: FetchFile, earlier: Entry | None, target: Path
) -> FetchError:
    """The same error with what can be done about it, where that depends on the record or list."""
    text = str(error)
    if isinstance(error, OfflineError):
        place = f"; or put it at {printable(str(target))} by hand, its hash is checked"
        return OfflineError(text + (place if file.sha256 or earlier else ""))
    if earlier is not None and file.sha256 is None and isinstance(error, MismatchError):
        return MismatchError(
            f"{text}. Nobody has published a hash; this is how the file was when it was first "
            f"fetched ({earlier.fetched}). If the new one is right, remove its entry from "
            f"{printable(str(target.with_name(RECORD_NAME)))} or give its --sha256"
        )
    return error


def _no_url(file: FetchFile, *, alone: bool) -> UsageError:
    others = "" if alone else ", or choose other files with --only"
    return UsageError(
        f"no URL is known for {printable(file.name)}: open {file.page} in a browser, copy the link "
        f"of the file and give it with --only '{printable(file.name)}' --url LINK{others}"
    )
