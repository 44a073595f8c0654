"""Lists of files to fetch, in TOML or JSON, and the lists that camaudit knows by name.

A list says `format = "camaudit-fetch-1"`, may say `title`, `licence` and `citation`, and holds
`files`, each with

- `name`: the file's name on this machine;
- `url`: an https link, Google Drive's included; null or absent where none is known, and then
- `page`: the https page where a browser finds the file;
- `sha256`, `size`: as published; null or absent where nothing is;
- `unpack`: whether it is an archive to unpack (default no);
- `licence`, `citation`: where they differ from the list's.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camaudit.data.folders import printable
from camaudit.data.unpacking import SUFFIXES
from camaudit.data.web import check_url
from camaudit.errors import UnknownNameError, UsageError
from camaudit.files import parsed_json

__all__ = ["FetchFile", "FetchList", "check_name", "check_sha256", "find_list", "known_lists",
           "read_fetch_list"]  # fmt: skip

FORMAT = "camaudit-fetch-1"
_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parent.parent
_LIST_KEYS = {"format", "title", "licence", "citation", "files"}
_FILE_KEYS = {"name", "url", "page", "sha256", "size", "unpack", "licence", "citation"}
_ENDINGS = (".part", ".part.json", ".rejected")


@dataclass(frozen=True)
class FetchFile:
    """One file of a list; `sha256` and `size` are None where nobody has published them."""

    name: str
    url: str | None
    page: str | None = None
    sha256: str | None = None
    size: int | None = None
    unpack: bool = False
    licence: str | None = None
    citation: str | None = None


@dataclass(frozen=True)
class FetchList:
    """Files that belong together."""

    title: str
    files: tuple[FetchFile, ...]


def known_lists() -> dict[str, Path]:
    """Name → file of the lists that come with camaudit."""
    # a wheel carries the lists inside the package; beside it another library may be `datasets`
    is_checkout = (_CHECKOUT / "pyproject.toml").is_file()
    shelf = _CHECKOUT / "datasets" if is_checkout else _PACKAGE / "lists"
    return {path.stem: path for path in sorted(shelf.glob("*.toml"))}


def find_list(source: str) -> Path:
    """The file of a list, given by its path or its name.

    Raises:
        UsageError: if there is no such file.
        UnknownNameError: if there is no list of that name; the message names the near ones.
    """
    known = known_lists()
    if source in known:
        return known[source]
    path = Path(source)
    if path.is_file():
        return path
    if path.suffix.lower() in {".toml", ".json"} or len(path.parts) != 1:
        raise UsageError(f"no list of files {printable(source)!r}: give the path of a file")
    near = difflib.get_close_matches(source, known, n=3, cutoff=0.4) or sorted(known)
    raise UnknownNameError(
        f"no list of files is called {printable(source)!r}; known: {', '.join(near) or 'none'}. "
        "Give one of these, the path of a TOML or JSON list, or an https URL"
    )


def read_fetch_list(path: Path) -> FetchList:
    """Read and check a list; what is wrong is named with its place, such as `files[2].sha256`.

    Raises:
        UsageError: if the file cannot be read, is no TOML or JSON, or breaks the format.
    """
    content = _parsed(path)
    where = printable(path.name)
    _check_keys(content, _LIST_KEYS, where)
    if content.get("format") != FORMAT:
        raise UsageError(
            f"{where}: expected format {FORMAT!r}; got {content.get('format')!r}: is this a list "
            "of files to fetch?"
        )
    entries = content.get("files")
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{where}: expected files, a list of at least one; got {entries!r:.80}")
    common = {key: _text(content, key, where) for key in ("title", "licence", "citation")}
    files = tuple(
        _file(entry, f"{where}: files[{index}]", common) for index, entry in enumerate(entries)
    )
    _check_distinct(files, where)
    return FetchList(common["title"] or path.stem, files)


def check_name(name: str, where: str = "the name") -> str:
    """A file name unchanged, if it is one on every system and stays in its folder.

    Raises:
        UsageError: if it is not.
    """
    if (
        not re.fullmatch(r"[^\x00-\x1f\x7f/\\:*?\"<>|]{1,200}", name)
        or name.startswith(".")
        or name.endswith((" ", ".", *_ENDINGS))
        or not name.isprintable()
        or name == "fetched.json"
    ):
        raise UsageError(
            f"{where}: expected a plain file name (no folder, no leading dot, none of "
            f"{', '.join(_ENDINGS)} at its end); got {printable(name)!r}"
        )
    return name


def check_sha256(text: str, where: str = "--sha256") -> str:
    """A SHA-256 in lower case.

    Raises:
        UsageError: if it is not 64 hexadecimal digits.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UsageError(f"{where}: expected 64 hexadecimal digits; got {printable(text)[:80]!r}")
    return text.lower()


def _parsed(path: Path) -> dict[str, Any]:
    where = printable(path.name)
    try:
        text = path.read_text(encoding="utf-8")
        is_toml = path.suffix.lower() == ".toml"
        content = tomllib.loads(text) if is_toml else parsed_json(text)
    except OSError as error:
        raise UsageError(f"{where} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # both parsers' errors are ValueErrors
        raise UsageError(f"{where} is no valid TOML (*.toml) or JSON (else): {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{where}: expected a table; got a {type(content).__name__}")
    return content


def _file(entry: Any, where: str, common: dict[str, str | None]) -> FetchFile:
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: expected a table; got a {type(entry).__name__}")
    _check_keys(entry, _FILE_KEYS, where)
    name = _text(entry, "name", where)
    if name is None:
        raise UsageError(f"{where}.name: expected the file's name; got none")
    url, page = _link(entry, "url", where), _link(entry, "page", where)
    if url is None and page is None:
        raise UsageError(f"{where}: expected url, or page where no url is known; got neither")
    digest = _text(entry, "sha256", where)
    unpack = _unpack(entry, name, where)
    return FetchFile(
        name=check_name(name, f"{where}.name"),
        url=url,
        page=page,
        sha256=None if digest is None else check_sha256(digest, f"{where}.sha256"),
        size=_size(entry, where),
        unpack=unpack,
        licence=_text(entry, "licence", where) or common["licence"],
        citation=_text(entry, "citation", where) or common["citation"],
    )


def _check_keys(content: dict[str, Any], known: set[str], where: str) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise UsageError(f"{where}: unknown key {printable(key)!r}: {hint}")


def _text(content: dict[str, Any], key: str, where: str) -> str | None:
    value = content.get(key)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise UsageError(f"{where}.{key}: expected a text or null; got {value!r:.80}")


def _link(entry: dict[str, Any], key: str, where: str) -> str | None:
    link = _text(entry, key, where)
    try:
        return None if link is None else check_url(link)
    except UsageError as error:
        raise UsageError(f"{where}.{key}: {error}") from error


def _size(entry: dict[str, Any], where: str) -> int | None:
    size = entry.get("size")
    if size is None or (isinstance(size, int) and not isinstance(size, bool) and size > 0):
        return size
    raise UsageError(f"{where}.size: expected a number of bytes above 0, or null; got {size!r:.80}")


def _unpack(entry: dict[str, Any], name: str, where: str) -> bool:
    unpack = entry.get("unpack", False)
    if not isinstance(unpack, bool):
        raise UsageError(f"{where}.unpack: expected true or false; got {unpack!r:.80}")
    if unpack and not name.lower().endswith(SUFFIXES):
        raise UsageError(
            f"{where}.unpack: expected a name that ends in one of {', '.join(SUFFIXES)}; got "
            f"{printable(name)!r}"
        )
    return unpack


def _check_distinct(files: tuple[FetchFile, ...], where: str) -> None:
    seen: set[str] = set()
    for file in files:
        key = file.name.casefold()
        if key in seen:
            raise UsageError(f"{where}: two files are called {file.name!r} (case does not count)")
        seen.add(key)
