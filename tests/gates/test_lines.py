"""Every key that tomllib finds has a line, and the key stands in that line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from camaudit.gates.lines import KeyPath, key_lines

BARE = st.from_regex(r"[A-Za-z0-9_-]{1,3}", fullmatch=True)
ODD = st.sampled_from(["", "a b", "a.b", 'say "so"', "#", "[x]", "=", "μ", "a\\b", "it's", "]]"])
KEYS = st.one_of(BARE, BARE, ODD)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), include_characters="\n\t"),
    max_size=12,
)


def quoted(text: str) -> str:
    """A basic string, by the escapes that JSON and TOML share."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@st.composite
def strings(draw: st.DrawFn) -> str:
    text = draw(st.one_of(TEXTS, st.sampled_from(["#", "[a]", 'x = "1"', "'''", '"', "]", "}"])))
    inside = quoted(text)[1:-1].replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
    start = draw(st.sampled_from(["", "\n", "\\\n  "]))
    more = draw(st.integers(0, 2))  # quotes before the closing ones belong to the string
    styles = [quoted(text), f"'{text}'", f'"""{start}{inside}"""{more * chr(34)}']
    styles += [f"'''{start}{text}'''{more * chr(39)}"]
    return draw(st.sampled_from(styles))  # not every text may stand in every kind of quotes


SCALARS = st.one_of(
    strings(),
    st.integers(-99, 99).map(str),
    st.sampled_from(
        ["true", "1.5e3", "inf", "0xFF", "1_000", "2026-12-31", "2026-12-31 07:30:00", "07:30:00"]
    ),
)
GAPS = st.sampled_from(["", " ", "\n", "  # a comment, with [brackets] = {\n", "\n\n"])


@st.composite
def spelled(draw: st.DrawFn, key: str) -> str:
    plain = key.replace("-", "").replace("_", "")
    bare = plain.isascii() and (plain.isalnum() or not plain) and key != ""
    if bare and draw(st.booleans()):
        return key
    return f"'{key}'" if "'" not in key and draw(st.booleans()) else quoted(key)


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    kind = draw(st.sampled_from(["scalar", "array", "table"] if depth else ["scalar"]))
    if kind == "scalar":
        return draw(SCALARS)
    if kind == "array":
        items = [
            draw(GAPS) + draw(values(depth - 1)) + draw(GAPS)
            for _ in range(draw(st.integers(0, 3)))
        ]
        return f"[{','.join(items)}{',' if items and draw(st.booleans()) else ''}{draw(GAPS)}]"
    keys = draw(st.lists(KEYS, max_size=2, unique=True))
    pairs = [f"{draw(dotted(key))} = {draw(values(depth - 1))}" for key in keys]
    return f"{{ {', '.join(pairs)} }}"


@st.composite
def dotted(draw: st.DrawFn, first: str) -> str:
    keys = [first, *draw(st.lists(KEYS, max_size=1))]
    return draw(st.sampled_from([".", " . ", ".\t"])).join([draw(spelled(key)) for key in keys])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Pairs, tables and arrays of tables in any order; not all that comes is TOML."""
    parts = []
    for _ in range(draw(st.integers(1, 6))):
        key = draw(dotted(draw(KEYS)))
        kind = draw(st.sampled_from(["pair", "pair", "[", "[["]))
        if kind == "pair":
            parts.append(f"{key} = {draw(values())}")
        else:
            parts.append(f"{kind}{key}{']' * len(kind)}")
        parts[-1] += draw(st.sampled_from(["", "  # key = 1", "\n", "\n\n  "]))
    return draw(st.sampled_from(["\n", "\r\n"])).join(parts)


def paths(value: Any, before: KeyPath = ()) -> Iterator[KeyPath]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*before, key)
        if isinstance(item, dict | list):
            yield from paths(item, (*before, key))


def stands_in(key: str, line: str) -> bool:
    return any(form in line for form in (key, quoted(key)))


@given(documents())
def test_every_key_has_a_line_that_names_it(text: str) -> None:
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    written = text.replace("\r\n", "\n").split("\n")
    assert set(lines) == set(paths(read))
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert stands_in(path[-1], written[line - 1]), path


def test_the_documents_that_are_drawn_are_mostly_toml_of_every_kind() -> None:
    kinds = {"[[": 0, "'''": 0, '"""': 0, "{": 0, " . ": 0, "whole": 0}
    tried = 300

    @settings(max_examples=tried, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(documents())
    def look(text: str) -> None:
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            return
        kinds["whole"] += 1
        for mark in kinds:
            kinds[mark] += mark in text

    look()
    assert kinds["whole"] > tried / 3
    assert min(kinds.values()) > 5, kinds


EXAMPLE = '''\
# a comment with [a.table] = "in it"
version = 1
text = """
[no.table]
key = 1
"""

[subject]  # key = 1
"odd \\u006bey" = [
    "one",   # first ]
    [2, { three = 3, 'f.our'.five = [
        5] }],
]
a.b.c = 'x = 1'
[[condition]]
name = "first"
  [condition.more]
  x = 1
[[condition]]
name = \'\'\'
second\'\'\'
[condition.more.deep]
y = """a""\\""""
z = 1979-05-27 07:32:00 # time
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("version",), 2),
        (("text",), 3),
        (("subject",), 8),
        (("subject", "odd key"), 9),
        (("subject", "odd key", 0), 10),
        (("subject", "odd key", 1, 1, "three"), 11),
        (("subject", "odd key", 1, 1, "f.our", "five", 0), 12),
        (("subject", "a", "b", "c"), 14),
        (("condition",), 15),
        (("condition", 0), 15),
        (("condition", 0, "more", "x"), 18),
        (("condition", 1), 19),
        (("condition", 1, "name"), 20),
        (("condition", 1, "more"), 22),
        (("condition", 1, "more", "deep", "y"), 23),
        (("condition", 1, "more", "deep", "z"), 24),
    ],
)
def test_lines_of_an_example(path: KeyPath, line: int) -> None:
    assert key_lines(EXAMPLE)[path] == line


def test_the_example_is_walked_whole() -> None:
    assert set(key_lines(EXAMPLE)) == set(paths(tomllib.loads(EXAMPLE)))


def test_what_is_no_toml_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2 is no TOML"):
        key_lines("a = 1\n= 2")
