"""Files that are replaced: whole or not at all, and nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from camaudit.errors import OutputError
from camaudit.files import parsed_json, replacing, write_json, write_text


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("before")
    return path


def only(path: Path) -> str:
    """The text of the file, which is all that its folder holds."""
    assert list(path.parent.iterdir()) == [path]
    return path.read_text("utf-8")


def half(path: Path, error: BaseException) -> None:
    """Begin to replace the file, and fail."""
    with replacing(path) as stream:
        stream.write(b"half")
        raise error


def test_the_file_changes_when_all_is_written(kept: Path) -> None:
    with replacing(kept) as stream:
        stream.write(b"af")
        stream.flush()
        assert kept.read_text() == "before"
        stream.write(b"ter")
    assert only(kept) == "after"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_another_error_passes_through(kept: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        half(kept, error)
    assert only(kept) == "before"


def test_the_systems_refusal_is_told_even_when_a_writer_hides_it(kept: Path) -> None:
    refused = RuntimeError("the archive could not be closed")
    refused.__cause__ = OSError(28, "No space left")
    with pytest.raises(OutputError, match="cannot be written: No space left"):
        half(kept, refused)
    assert only(kept) == "before"
    with pytest.raises(OutputError, match="No such file"):
        write_text(kept.parent / "no" / "file", "text")


def test_what_a_killed_process_left_is_taken_away(kept: Path) -> None:
    kept.with_name(".file.tmp").write_text("half of something")
    write_text(kept, "after")
    assert only(kept) == "after"


def test_json_is_indented_and_has_no_nan(kept: Path) -> None:
    content = {"name": "猫 \ud800", "values": [1.5, None]}
    write_json(kept, content)
    assert json.loads(only(kept)) == content
    assert '\n  "name": "猫 \\ud800"' in only(kept)
    before = only(kept)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(kept, {"value": float("nan")})
    assert only(kept) == before


@pytest.mark.parametrize("depth", [98, 99, 101, 900, 100_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_json_is_read_to_a_depth(depth: int, left: str, right: str) -> None:
    text = left * depth + "1" + right * depth
    if depth < 100:
        assert json.dumps(parsed_json(text), separators=(",", ":")) == text
    else:
        with pytest.raises(ValueError, match="nested more than 100 deep"):
            parsed_json(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_json_numbers_are_finite_unless_asked(number: str) -> None:
    with pytest.raises(ValueError, match=r"(nan|inf) is no JSON number"):
        parsed_json(f'{{"a": [{number}]}}')
    assert not abs(parsed_json(f'{{"a": [{number}]}}', finite=False)["a"][0]) < 1e308
