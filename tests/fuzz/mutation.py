"""Changes to files: bytes of any file, values of JSON, words of TOML; all follow from a seed."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["Mutate", "of_bytes", "of_json", "of_text"]

Mutate = Callable[[random.Random, Sequence[bytes]], bytes]

_BYTES = [b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
          b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x80\0\0\0", b"\xff" * 8, b"\xff\xda", b"\r\n",
          b"%s%n", b"\xed\xa0\x80", b"\xef\xbb\xbf"]  # fmt: skip
_TEXTS = ["", " ", "x", "..", "../../etc/passwd", "/", "C:\\x", "a\nb", "a\0b", "\ud800", "\u202e",
          "\U0001f600", "<script>alert(1)</script>", "]]>", "{{7*7}}", "%(x)s", "nan", "-1",
          "maps:/", "trained:", "captum:", "file.py:f", "scorecam(", "e" * 5000, "\u0661",
          "1979-05-27"]  # fmt: skip
_NUMBERS = [0, -1, 1, 2, 0.5, -0.0, 1e-320, 1e308, -1e308, 2**31, 2**63, -(2**63), 2**64, 10**30,
            10**400, float("nan"), float("inf"), True, None]  # fmt: skip
_WORDS = ["true", "false", "nan", "inf", "-inf", "0x", "1_0", "1e400", "9" * 5000, '""', "''",
          '"""', "[", "]", "{", "}", "[[", "]]", "=", ",", "#", "\\", "\\u0000", "\\ud800", "..",
          "1979-05-27", "2030-13-01", "07:32:00", "-0", "[" * 2000, "a." * 1500 + "a"]  # fmt: skip


def of_bytes(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds after one to eight changes of bytes."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        _change(rng, data, seeds)
    return bytes(data)


def of_json(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, which are JSON, with one to five of its values changed; or its bytes."""
    if rng.random() < 0.15:
        return of_bytes(rng, seeds)
    value = json.loads(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 5))):
        with contextlib.suppress(RecursionError):  # it is deep enough as it is
            value = _changed_value(rng, value)
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def of_text(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, which are TOML or XML, with words and lines changed; or its bytes."""
    if rng.random() < 0.2:
        return of_bytes(rng, seeds)
    lines = rng.choice(seeds).decode("utf-8", "replace").split("\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(lines))
        kind = rng.randrange(6)
        if kind == 0:
            del lines[place]
        elif kind == 1:
            lines.insert(rng.randrange(len(lines)), lines[place])
        elif kind == 2:
            head, mark, _ = lines[place].partition("=")
            lines[place] = head + mark + _word(rng)
        elif kind == 3:
            other = rng.choice(rng.choice(seeds).decode("utf-8", "replace").split("\n"))
            lines[place] = lines[place].partition("=")[0] + "=" + other.rpartition("=")[2]
        else:
            lines[place] = _reworded(rng, lines[place])
        lines = lines or [""]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _change(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    if not data:
        data += rng.choice(_BYTES)
        return
    place, length = rng.randrange(len(data)), rng.choice((1, 1, 2, 4, 16, 200))
    kind = rng.randrange(8)
    if kind == 0:
        data[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[place] = rng.randrange(256)
    elif kind == 2:
        new = rng.choice(_BYTES)
        data[place : place + len(new)] = new
    elif kind == 3:
        data[place:place] = rng.choice(_BYTES)
    elif kind == 4:
        del data[place : place + length]
    elif kind == 5:
        data[place:place] = data[place : place + length] * rng.choice((1, 1, 3, 50))
    elif kind == 6:
        del data[place:]
    else:
        other = rng.choice(seeds)
        data[place:] = other[rng.randrange(len(other) or 1) :]


def _word(rng: random.Random) -> str:
    kind = rng.randrange(3)
    if kind == 0:
        return json.dumps(rng.choice(_TEXTS))
    if kind == 1:
        return str(rng.choice(_NUMBERS)).lower()
    return rng.choice(_WORDS)


def _reworded(rng: random.Random, line: str) -> str:
    words = list(re.finditer(r"[\w.+-]+|\"[^\"]*\"|\S", line))
    if not words:
        return _word(rng)
    found = rng.choice(words)
    return line[: found.start()] + _word(rng) + line[found.end() :]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand; of a long list a few entries."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = dict([*list(enumerate(value))[:4], *list(enumerate(value))[-1:]]).items()
    for key, item in items:
        yield (*path, key)
        yield from _places(item, (*path, key))


def _changed_value(rng: random.Random, value: Any) -> Any:
    places = list(_places(value))
    if not places or rng.random() < 0.01:
        return _new(rng, value)
    *path, last = rng.choice(places)
    holder = value
    for key in path:
        holder = holder[key]
    kind = rng.randrange(7)
    if kind == 0:
        del holder[last]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[last]))
    elif kind == 1:
        holder[rng.choice(_TEXTS)] = copy.deepcopy(holder[last])
    elif kind == 2:
        *other, end = rng.choice(places)
        found = value
        try:
            for key in (*other, end):
                found = found[key]
        except (KeyError, IndexError, TypeError):
            return value
        holder[last] = copy.deepcopy(found)
    else:
        holder[last] = _new(rng, holder[last])
    return value


def _new(rng: random.Random, old: Any) -> Any:
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(_TEXTS)
    if kind == 1:
        return rng.choice(([], {}, [[]], [None], {"": None}, [0] * 1000))
    if kind == 2:
        deep: Any = 0
        for _ in range(rng.choice((5, 90, 150))):
            deep = [deep] if rng.random() < 0.5 else {"a": deep}
        return deep
    if kind == 3 and isinstance(old, (int, float)) and not isinstance(old, bool):
        return rng.choice((-old, old + 1, old * 1000, old / 3 if abs(old) < 1e300 else 0.3))
    if kind == 4 and isinstance(old, list):
        return old * 2 if rng.random() < 0.5 else old[::-1]
    return rng.choice(_NUMBERS)
