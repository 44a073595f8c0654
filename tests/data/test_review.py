"""The list to look at, and what was rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.data.review import listing, parse_rejections, read_rejections
from camaudit.errors import UsageError
from tests.data.sets import build, photographs

WORD = st.from_regex(r"[a-z0-9_]{1,8}-[0-9a-f]{12}", fullmatch=True)


def test_one_line_an_image(tmp_path):
    manifest = build(photographs(tmp_path / "photos", {"17": 2, "zz": 1}), tmp_path / "set")
    lines = listing(manifest).splitlines()
    assert len(lines) == 2
    assert any(" 17 jay  (17/" in line and line.startswith("17-") for line in lines)
    assert any("- zz  (zz/0.png + zz/0.png)" in line for line in lines)


@given(st.dictionaries(WORD, st.from_regex(r"[a-z]{1,5}( [a-z]{1,5})?", fullmatch=True)))
def test_ids_and_reasons(entries):
    text = "".join(f"  {id_}.png\t {reason}  # a comment\n\n" for id_, reason in entries.items())
    assert parse_rejections("# list\n" + text) == entries


def test_a_reason_is_not_needed():
    assert parse_rejections("a-1\n\nb-2\n") == {"a-1": "rejected by eye", "b-2": "rejected by eye"}


def test_files_that_are_none(tmp_path):
    path = tmp_path / "list.txt"
    with pytest.raises(UsageError, match="there is no such file"):
        read_rejections(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no list of rejected ids"):
        read_rejections(path)
    path.write_text("# nothing\n")
    with pytest.raises(UsageError, match="rejects nothing"):
        read_rejections(path)
    path.write_text("a-1 blurred")
    assert read_rejections(path) == {"a-1": "blurred"}
