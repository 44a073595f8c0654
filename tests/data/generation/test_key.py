"""The key stays out of every text, in whole and in part."""

from __future__ import annotations

import copy
import pickle
from urllib.parse import quote

import pytest
import requests

from camaudit.data.generation.key import Key
from camaudit.errors import UsageError

SECRET = "sk-proj-Abc123+/xyz=QRS789"  # noqa: S105 - planted, to be looked for


def signed(key: Key) -> str | None:
    request = requests.Request("POST", "https://example.org").prepare()
    return key.sign(request).headers.get("Authorization")


def test_it_signs_requests_and_shows_itself_nowhere() -> None:
    key = Key(f" {SECRET}\r\n")
    assert signed(key) == f"Bearer {SECRET}"
    assert key
    for text in (repr(key), str(key), f"{key}", repr([key]), repr(key.sign)):
        assert "sk-" not in text
    for copied in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not to be stored"):
            copied(key)


def test_an_empty_key_signs_nothing_and_redacts_nothing() -> None:
    assert not Key("")
    assert signed(Key("")) is None
    assert Key("").redact("a *** b") == "a *** b"
    assert not Key("").is_in("anything")


@pytest.mark.parametrize("value", ["sk-a b-secret", "sk-a\nb-secret", "sk-sécret", "sk-\x00secret"])
def test_what_fits_no_header_is_refused_unseen(value: str) -> None:
    with pytest.raises(UsageError, match="expected one word") as caught:
        Key(value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        SECRET.upper(),
        quote(SECRET, safe=""),
        f"key={SECRET}&x=1",
        SECRET[:10] + "***" + SECRET[-4:],
        "sk-…S789",
        "****S789",
        "sk-...S789",
        SECRET[5:16],
        f"Bearer:{SECRET}.",
    ],
)
def test_echoes_are_redacted_whole_and_in_part(echo: str) -> None:
    shown = Key(SECRET).redact(f'Incorrect key "{echo}" given (see {echo}), try again...')
    assert shown.startswith('Incorrect key "')
    assert shown.count("[key]") == 2
    assert shown.endswith("try again...")
    for start in range(len(SECRET) - 5):
        assert SECRET[start : start + 6].lower() not in shown.lower()
    assert "S789" not in shown


def test_other_words_stay() -> None:
    text = "The model `dall-e-3` does not exist: see https://example.org/help?q=1, or ask…"
    assert Key(SECRET).redact(text) == text
    prompt = "A jay...above a jay, *** both ***"
    assert Key(SECRET).redact(prompt, masks=False) == prompt
    assert Key(SECRET).redact(f"{prompt} {SECRET}", masks=False) == f"{prompt} [key]"


def test_a_dummy_key_hides_only_itself() -> None:
    key = Key("EMPTY")
    assert signed(key) == "Bearer EMPTY"
    assert key.redact("EMPTY is no key, EMPTYING a box") == "[key] is no key, EMPTYING a box"
    assert not key.is_in(b"EMPTY")


def test_it_finds_itself() -> None:
    key = Key(SECRET)
    assert key.is_in(f"https://example.org/{quote(SECRET, safe='')}/x")
    assert key.is_in(b"\x00" + SECRET.encode() + b"\xff")
    assert not key.is_in(SECRET[:-1])


def test_it_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    assert signed(Key.from_environment("MY_KEY")) == f"Bearer {SECRET}"
    monkeypatch.setenv("MY_KEY", " ")
    with pytest.raises(UsageError, match="variable MY_KEY is not set or empty"):
        Key.from_environment("MY_KEY")
    assert not Key.from_environment("MY_KEY", optional=True)


@pytest.mark.parametrize("name", [SECRET, "sk_live_0123456789abcdef", "ABCDEF0123456789ABCDEF"])
def test_a_key_given_for_the_name_is_not_repeated(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Key.from_environment(name)
    assert name[:8] not in str(caught.value)
