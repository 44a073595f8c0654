"""Lists of files: what is right is read, what is wrong is named with its place."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from camaudit.data.fetch_list import FetchFile, find_list, known_lists, read_fetch_list
from camaudit.errors import UnknownNameError, UsageError

ROOT = Path(__file__).parent.parent.parent
SHA = "ab" * 32


def written(folder: Path, content: Any) -> Path:
    path = folder / "list.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def listing(*files: Any, **more: Any) -> dict[str, Any]:
    return {"format": "camaudit-fetch-1", "files": list(files), **more}


GOOD = {"name": "a.zip", "url": "https://example.org/a.zip"}


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    toml = tmp_path / "list.toml"
    toml.write_text(
        'format = "camaudit-fetch-1"\ntitle = "T"\nlicence = "L"\ncitation = "C"\n'
        '[[files]]\nname = "a.zip"\nurl = "https://example.org/a.zip"\n'
        f'sha256 = "{SHA.upper()}"\nsize = 5\nunpack = true\n'
        '[[files]]\nname = "b"\npage = "https://example.org/"\nlicence = "M"\n'
    )
    first = FetchFile(
        "a.zip", "https://example.org/a.zip", None, SHA, 5, True, licence="L", citation="C"
    )
    second = FetchFile("b", None, "https://example.org/", licence="M", citation="C")
    found = read_fetch_list(toml)
    assert (found.title, found.files) == ("T", (first, second))
    plain = tomllib.loads(toml.read_text())
    plain["files"][1] |= {"url": None, "sha256": None, "size": None}
    assert read_fetch_list(written(tmp_path, plain)) == found


WRONG: list[tuple[Any, str]] = [
    ("{", "no valid TOML"),
    ("[]", "expected a table; got a list"),
    ("[" * 100_000, "no valid TOML"),
    ({"files": [GOOD]}, "expected format 'camaudit-fetch-1'; got None"),
    (listing(), "expected files, a list of at least one"),
    (listing(GOOD, titel="x"), "unknown key 'titel': did you mean title"),
    (listing(GOOD, title=5), "title: expected a text or null; got 5"),
    (listing("a"), r"files\[0\]: expected a table; got a str"),
    (listing(GOOD, {"url": "https://example.org"}), r"files\[1\]\.name: expected the file's name"),
    (listing({"name": "a"}), r"files\[0\]: expected url, or page"),
    (listing(GOOD | {"sha265": SHA}), r"files\[0\]: unknown key 'sha265': did you mean sha256"),
    (listing(GOOD | {"sha256": "abc"}), r"files\[0\]\.sha256: expected 64 hexadecimal digits"),
    (listing(GOOD | {"size": -1}), r"files\[0\]\.size: expected a number of bytes"),
    (listing(GOOD | {"size": True}), r"files\[0\]\.size"),
    (listing(GOOD | {"unpack": "yes"}), r"files\[0\]\.unpack: expected true or false"),
    (listing(GOOD | {"name": "a.rar", "unpack": True}), r"files\[0\]\.unpack: expected a name"),
    (listing(GOOD | {"url": "http://example.org/a"}), r"files\[0\]\.url: expected an https URL"),
    (listing(GOOD, GOOD | {"name": "A.ZIP"}), "two files are called 'A.ZIP'"),
]


@pytest.mark.parametrize(("content", "why"), WRONG, ids=[why for _content, why in WRONG])
def test_what_is_wrong_is_named(tmp_path: Path, content: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        read_fetch_list(written(tmp_path, content))


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a/b", "a\\b", "..", ".a", "", "a.part", "a.rejected", "a\n", "a.",
             "C:a", "fetched.json", "a" * 201]
)  # fmt: skip
def test_names_stay_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"files\[0\]\.name"):
        read_fetch_list(written(tmp_path, listing(GOOD | {"name": name})))


def test_a_list_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    path = written(tmp_path, listing(GOOD))
    assert find_list(str(path)) == path
    assert find_list("see-through-walls").is_file()
    with pytest.raises(UnknownNameError, match="known: see-through-walls"):
        find_list("see-trough-wall")
    with pytest.raises(UsageError, match="no list of files"):
        find_list("missing.toml")


@pytest.mark.parametrize("name", known_lists())
def test_every_list_of_ours_is_right_has_a_card_and_is_in_the_wheel(name: str) -> None:
    path = known_lists()[name]
    found = read_fetch_list(path)
    assert all(file.licence and file.citation for file in found.files)
    card = path.with_suffix(".md").read_text()
    for file in found.files:
        assert f"`{file.name}`" in card
        if file.sha256:
            assert f"`{file.sha256[:8]}…{file.sha256[-5:]}`" in card
    assert f"({name}.md)" in (ROOT / "datasets" / "README.md").read_text()
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = build["targets"]["wheel"]["force-include"]
    assert included[f"datasets/{path.name}"] == f"camaudit/data/lists/{path.name}"


def test_the_example_in_the_readme_is_a_list(tmp_path: Path) -> None:
    text = (ROOT / "datasets" / "README.md").read_text()
    example = text.split("```toml\n")[1].split("```")[0]
    example = example.replace('"…64 hexadecimal digits"', f'"{SHA}"')
    path = tmp_path / "example.toml"
    path.write_text(example)
    assert [file.unpack for file in read_fetch_list(path).files] == [True, False]
