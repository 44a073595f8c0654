"""The images API against a real server: every answer it may give, and what is paid for it."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import shutil
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from camaudit.data.generation.images_api import ApiOptions, ImagesApi
from camaudit.data.generation.journal import JOURNAL_NAME
from camaudit.data.generation.request import Generated, RefusedError, Request
from camaudit.errors import (
    BudgetError,
    CamauditError,
    GenerationError,
    OutputError,
    UsageError,
)
from tests.file_server import Reply
from tests.images_server import CHAT, IMAGES, ImagesServer, answer, cut, failure, picture, slow

SECRET = "sk-test-0f1E2d3C4b5AzQxW"  # noqa: S105 - planted, to be looked for
POLICY = failure(400, "Rejected by our safety system.", code="content_policy_violation")
BUSY = failure(429, "Slow down", {"Retry-After": "7"}, code="rate_limit_exceeded")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, and no proxy for downloads (requests with the key never use one for this machine)."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[ImagesServer]:
    with ImagesServer(key=SECRET) as running:
        yield running


class Asking:
    """Asks one server with one folder, and remembers what was waited and told."""

    def __init__(self, server: ImagesServer, folder: Path, **options: Any) -> None:
        self.server, self.folder = server, folder
        self.options = {"model": "dall-e-3", "size": "64x48", "timeout": 5.0, **options}
        self.slept: list[float] = []
        self.told: list[str] = []
        self.notes: tuple[str, ...] = ()

    def open(self, **changes: Any) -> ImagesApi:
        options = ApiOptions(**{"base_url": self.server.base, **self.options, **changes})
        return ImagesApi(options, self.folder, tell=self.told.append, sleep=self.slept.append)

    def __call__(self, *ids: str, **changes: Any) -> list[Generated]:
        with self.open(**changes) as backend:
            try:
                return [backend.generate(request(name)) for name in ids]
            finally:
                self.notes = backend.notes

    def lines(self) -> list[dict[str, Any]]:
        text = (self.folder / JOURNAL_NAME).read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def ask(server: ImagesServer, tmp_path: Path) -> Asking:
    return Asking(server, tmp_path / "set.generation")


def request(name: str = "jay-0", **changes: Any) -> Request:
    given = {"label": 17, "label_name": "jay", "prompt": f"A photo of {name}.", "seed": 3}
    return Request(id=name, size=(48, 48), **{**given, **changes})


def everything(folder: Path) -> bytes:
    return b"\n".join(
        path.name.encode() + path.read_bytes() for path in folder.rglob("*") if path.is_file()
    )


def test_a_picture_comes_with_its_origin(ask: Asking, server: ImagesServer) -> None:
    (got,) = ask("jay-0", price="0.04", quality="hd")
    assert got.picture == picture(1)
    assert got.generation == {
        "backend": "api", "host": server.base.split("/")[2], "model": "dall-e-3",
        "prompt": "A photo of jay-0.", "refined_prompt": None, "refine_model": None,
        "refine_response_id": None, "revised_prompt": "revised: A photo of jay-0.",
        "size": "64x48", "quality": "hd", "seed": 3, "response_id": "req-1",
        "created": 1_700_000_001, "cost": 0.04,
    }  # fmt: skip
    (body,) = server.bodies()
    assert body == {
        "model": "dall-e-3", "prompt": "A photo of jay-0.", "n": 1, "size": "64x48",
        "quality": "hd",
    }  # fmt: skip
    assert server.posts[0].headers["Authorization"] == f"Bearer {SECRET}"
    assert ask.notes == ("1 images were paid for, 0.04 in all at the prices given",)
    events = [line.get("event") for line in ask.lines()]
    assert events == [None, "intent", "outcome"]
    raw = sorted(path.suffix for path in (ask.folder / "raw").iterdir())
    assert raw == [".json", ".png"]


@pytest.mark.parametrize("by_link", [False, True])
def test_what_was_paid_is_not_asked_for_again(tmp_path: Path, by_link: bool) -> None:
    with ImagesServer(key=SECRET, honours_keys=False, by_link=by_link) as server:
        ask = Asking(server, tmp_path)
        first = ask("jay-0", "owl-1", "jay-0")
        asked = len(server.requests)
        assert server.paid == 2
    second = ask("owl-1", "jay-0")  # no server any more
    assert second == [first[1], first[0]]
    assert asked == (4 if by_link else 2)
    assert ask("jay-0", max_images=0) == [first[0]]  # neither a new cap nor a new price matters


def test_another_prompt_seed_model_or_size_is_another_picture(
    ask: Asking, server: ImagesServer
) -> None:
    ask("jay-0")
    ask("jay-0", model="gpt-image-1")
    ask("jay-0", size="96x64")
    with ask.open() as backend:
        backend.generate(request(prompt="Another."))
        backend.generate(request(seed=4))
        backend.generate(request())
    assert server.paid == 5


def test_links_are_followed_without_the_key_and_forgotten(tmp_path: Path) -> None:
    with ImagesServer(key=SECRET, by_link=True) as server:
        server.link_events = [Reply(b"", 503), Reply(picture(9), cut=20)]
        ask = Asking(server, tmp_path)
        (got,) = ask("jay-0")
        fetched = [r for r in server.requests if r.body is None]
    assert got.picture == picture(1)
    assert len(fetched) == 3
    for asked in fetched:
        assert "Authorization" not in asked.headers
        assert SECRET not in str(asked)
    assert "still lies at its link" in ask.told[0]
    assert b"for-this-picture-alone" not in everything(tmp_path)


def test_a_link_that_was_answered_before_the_run_died_is_fetched_not_paid(tmp_path: Path) -> None:
    with ImagesServer(key=SECRET, by_link=True, honours_keys=False) as server:
        server.link_events = [Reply(b"", 503)] * 2
        ask = Asking(server, tmp_path, retries=1)
        with pytest.raises(GenerationError, match="is paid for and still lies at its link"):
            ask("jay-0")
        assert ask("jay-0")[0].picture == picture(1)
        assert server.paid == 1
        assert ask.notes == ("1 images were paid for",)


@pytest.mark.parametrize(
    "event", [Reply(b"", 403), Reply(b"<html>no</html>"), Reply(b""), Reply(picture(1)[:-30])]
)
def test_a_link_that_gives_no_picture_is_said_to_be_paid(tmp_path: Path, event: Reply) -> None:
    with ImagesServer(key=SECRET, by_link=True) as server:
        server.link_events = [event]
        ask = Asking(server, tmp_path)
        with pytest.raises(GenerationError, match=r"for jay-0 cannot be used: .*counts as paid"):
            ask("jay-0")
        assert ask.notes[1] == "1 of the images paid for could not be used"
        ask("jay-0")
        keys = [r.headers["Idempotency-Key"] for r in server.posts]
        assert len(set(keys)) == 2  # the old key would give the old answer


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("http://example.org/a.png", "http is neither encrypted"),
        ("ftp://127.0.0.1/a.png", "ftp is neither encrypted"),
        (f"https://example.org/{SECRET}", "its link holds the API key"),
        ("https://example.org/%73k-test-0f1E2d3C4b5AzQxW", "its link holds the API key"),
    ],
)
def test_links_that_are_not_followed(
    ask: Asking, server: ImagesServer, link: str, message: str
) -> None:
    server.events = [answer({"data": [{"url": link}]})]
    with pytest.raises(GenerationError, match=message) as caught:
        ask("jay-0")
    assert SECRET not in str(caught.value)
    assert SECRET.encode() not in everything(ask.folder)


def test_a_429_waits_as_long_as_it_says(ask: Asking, server: ImagesServer) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    server.events = [BUSY, failure(429, "", {"Retry-After": date}), failure(429, "")]
    ask("jay-0")
    assert ask.slept[0] == 7
    assert 55 < ask.slept[1] <= 60
    assert 2 <= ask.slept[2] <= 4
    assert "answers 429 (Slow down); trying again in 7 s" in ask.told[0]
    assert ask.notes == ("1 images were paid for",)  # a 429 costs nothing
    assert len({r.headers["Idempotency-Key"] for r in server.posts}) == 1


def test_each_paid_request_has_a_connection_of_its_own(ask: Asking, server: ImagesServer) -> None:
    """One that the server is just dropping would look like an answer that was lost."""
    server.events = [Reply(b"{}", 500, keep=True), Reply(b"{}", 503, keep=True)]
    ask("jay-0")
    assert len({asked.port for asked in server.posts}) == 3


def test_a_wait_of_hours_stops_the_run(ask: Asking, server: ImagesServer) -> None:
    server.events = [failure(429, "Daily limit", {"Retry-After": "7200"})]
    with pytest.raises(GenerationError, match="asks to come back in 7200 s"):
        ask("jay-0")
    assert not ask.slept
    ask("jay-0")
    assert server.paid == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_tried_again(ask: Asking, server: ImagesServer, status: int) -> None:
    server.events = [failure(status, "oops"), Reply(b"<html>", status)]
    ask("jay-0")
    assert server.paid == 1
    assert len(ask.slept) == 2
    assert (len(ask.notes) == 2) is (status in {502, 504})  # a gateway's word is no promise


def test_too_many_failures_stop_and_the_next_run_goes_on(ask: Asking, server: ImagesServer) -> None:
    server.events = [failure(500, "oops")] * 3
    with pytest.raises(GenerationError, match="gave up after 3 tries"):
        ask("jay-0", retries=2)
    assert len(ask.slept) == 2
    ask("jay-0")
    assert server.paid == 1


@pytest.mark.parametrize("event", [cut, slow(1.0)])
@pytest.mark.parametrize("honours", [True, False])
def test_a_lost_answer_is_asked_for_with_the_same_key(
    tmp_path: Path, event: Callable[[Reply], Reply], honours: bool
) -> None:
    with ImagesServer(key=SECRET, honours_keys=honours) as server:
        server.events = [event]
        ask = Asking(server, tmp_path, timeout=0.3, price="0.04")
        assert ask("jay-0")[0].picture == picture(1 if honours else 2)
        assert server.paid == (1 if honours else 2)
        assert len(server.bill) == 1
    assert ask.notes[0] == "1 images were paid for, 0.08 at most at the prices given"
    assert ask.notes[1].startswith("1 requests for images ended without an answer")


def test_a_prompt_that_is_refused_is_refused_once(ask: Asking, server: ImagesServer) -> None:
    server.events = [POLICY]
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"answers 400 \(Rejected by our safety system"):
            ask("jay-0")
    ask("owl-1")
    assert len(server.posts) == 2
    assert server.paid == 1


@pytest.mark.parametrize(
    "event",
    [
        failure(400, "No.", code="moderation_blocked"),
        failure(400, "No.", code="contentFilter"),
        failure(422, "This violates our content policy"),
        answer({"error": {"code": "x", "inner_error": {"code": "ResponsibleAIPolicy"}}}, 400),
    ],
)
def test_refusals_in_other_words(ask: Asking, server: ImagesServer, event: Reply) -> None:
    server.events = [event]
    with pytest.raises(RefusedError):
        ask("jay-0")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (failure(400, "Invalid size"), r"answers 400 \(Invalid size\): .*compare --model, --size"),
        (failure(401, "Bad key"), "does not accept the API key for this; check the variable"),
        (failure(403, "safety system"), "does not accept the API key for this"),
        (failure(402, ""), "no credit left"),
        (failure(429, "Quota", code="insufficient_quota"), "no credit left"),
        (failure(404, "no such model"), r"\(no such model\): check --base-url .* name of the mod"),
        (Reply(b"nope", 404), r"answers 404 \(nope\)"),
        (answer({"detail": "off"}, 418), r"answers 418 \(off\)"),
        (answer({"error": "plain"}, 400), r"\(plain\)"),
        (answer([1], 400), "answers 400: "),
        (Reply(b"<p>", 400, {"Content-Type": "text/html"}), r"answers 400 \(a web page\)"),
        (Reply(b"", 307, {"Location": f"https://evil.example/{SECRET}"}), "give the new address"),
        (Reply(b"<p>", 200, {"Content-Type": "text/html"}), "a web page, expected a JSON object"),
        (Reply(b"[1]"), "sent 3 bytes of something else, expected a JSON object"),
        (Reply(b"[" * 100_000), "expected a JSON object"),
        (Reply(b"{}", 200, {"Content-Encoding": "gzip"}), r"comes compressed \(gzip\)"),
        (answer({}), "cannot be used: it holds no data"),
        (answer({"data": []}), "it holds no data"),
        (answer({"error": {"message": "soon"}}), r"it holds no data \(soon\)"),
        (answer({"data": [{}]}), "neither b64_json nor url"),
        (answer({"data": [{"b64_json": "?"}]}), "no base64"),
        (answer({"data": [{"b64_json": "AAAA"}]}), "not an image"),
    ],
)
def test_answers_that_stop_the_run(
    ask: Asking, server: ImagesServer, event: Reply, message: str
) -> None:
    server.events = [event]
    with pytest.raises(GenerationError, match=message) as caught:
        ask("jay-0", "owl-1")
    assert "sk-test" not in str(caught.value)
    assert len(server.requests) == 1  # neither tried again nor redirected
    assert not ask.slept


def test_an_answer_without_a_length_that_is_no_json_may_be_cut(
    ask: Asking, server: ImagesServer
) -> None:
    server.events = [Reply(b'{"data": [', length=False)]
    ask("jay-0")
    assert "may be cut off" in ask.told[0]


def test_an_endless_answer_is_cut_short(
    ask: Asking, server: ImagesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("camaudit.data.generation.endpoint.MOST_BYTES", 1000)
    server.events = [Reply(b" " * 500_000)]
    with pytest.raises(GenerationError, match="sends more than 1000 bytes"):
        ask("jay-0")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_other_formats_and_data_urls(ask: Asking, server: ImagesServer, kind: str) -> None:
    text = base64.b64encode(picture(5, kind=kind)).decode()
    server.events = [answer({"data": [{"url": f"data:image/x;base64,{text[:80]}\n{text[80:]}"}]})]
    assert ask("jay-0")[0].picture == picture(5, kind=kind)
    ends = {path.suffix for path in (ask.folder / "raw").iterdir()}
    assert ends == {".json", ".jpg" if kind == "JPEG" else ".webp"}


def test_a_format_that_is_none_of_the_three(ask: Asking, server: ImagesServer) -> None:
    text = base64.b64encode(picture(5, kind="BMP")).decode()
    server.events = [answer({"data": [{"b64_json": text}]})]
    with pytest.raises(GenerationError, match="expected PNG, JPEG or WebP"):
        ask("jay-0")


def test_the_caps_hold_over_runs_and_stop_before_the_request(
    ask: Asking, server: ImagesServer
) -> None:
    caps = {"price": "0.04", "budget": "0.10"}
    with pytest.raises(BudgetError, match=r"so far 0\.08 for 2 images paid for, earlier runs incl"):
        ask("a", "b", "c", **caps)
    with pytest.raises(BudgetError):
        ask("a", "b", "c", **caps)
    with pytest.raises(BudgetError, match="would exceed --max-images 2"):
        ask("c", max_images=2)
    assert server.paid == len(server.posts) == 2
    ask("a", "b", "c", max_images=3)


def test_a_request_that_may_have_been_paid_counts_towards_the_cap(
    ask: Asking, server: ImagesServer
) -> None:
    server.events = [cut]
    with pytest.raises(BudgetError, match="0 images paid for and 1 that may have been paid for"):
        ask("a", max_images=1)
    assert len(server.posts) == 1


def test_the_rate_holds(server: ImagesServer, tmp_path: Path) -> None:
    ask = Asking(server, tmp_path, rate=6)
    ticks = iter(range(1000))
    options = ApiOptions(base_url=server.base, model="m", size="64x48", rate=6)
    with ImagesApi(options, tmp_path, sleep=ask.slept.append, clock=lambda: next(ticks)) as api:
        for name in "abc":
            api.generate(request(name))
    assert ask.slept == [9, 18]  # a clock that stands still while sleeping


def test_prompts_are_refined_once_each(ask: Asking, server: ImagesServer) -> None:
    options = {"refine_model": "gpt-4o", "price": "0.04", "refine_price": "0.01"}
    (got,) = ask("jay-0", **options)
    assert server.bodies()[0]["prompt"] == "Refined: A photo of jay-0."
    assert got.generation["prompt"] == "A photo of jay-0."
    assert got.generation["refined_prompt"] == "Refined: A photo of jay-0."
    assert got.generation["refine_model"] == "gpt-4o-2"
    assert got.generation["refine_response_id"] == "chat-1"
    assert got.generation["cost"] == pytest.approx(0.05)
    (body,) = server.bodies(CHAT)
    assert body["model"] == "gpt-4o"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert ask("jay-0", **options) == [got]
    assert len(server.posts) == 2
    assert ask.notes == ("1 images were paid for, 0.05 in all at the prices given",)


def test_a_refined_prompt_outlives_the_picture_that_failed(
    ask: Asking, server: ImagesServer
) -> None:
    server.chat_events = [BUSY]
    server.events = [failure(500, "oops")]
    with pytest.raises(GenerationError):
        ask("jay-0", refine_model="gpt-4o", retries=0)
    with pytest.raises(GenerationError):
        ask("jay-0", refine_model="gpt-4o", retries=0)
    ask("jay-0", refine_model="gpt-4o", retries=0)
    assert sum(server.chat_bill.values()) == 1
    assert [body["prompt"] for body in server.bodies()] == ["Refined: A photo of jay-0."] * 2


def test_no_prompt_is_refined_for_a_picture_beyond_the_budget(
    ask: Asking, server: ImagesServer
) -> None:
    with pytest.raises(BudgetError):
        ask("jay-0", refine_model="gpt-4o", max_images=0)
    with pytest.raises(BudgetError):
        ask("jay-0", refine_model="m", refine_price="0.02", price="0.04", budget="0.05")
    assert not server.posts


def chat(**message: Any) -> Reply:
    reason = message.pop("finish_reason", "stop")
    return answer({"choices": [{"message": message, "finish_reason": reason}]})


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (answer({}), "sent no choices"),
        (answer({"choices": [None]}), "sent no choices"),
        (answer({"error": {"message": "later"}}), r"sent no choices \(later\)"),
        (chat(content=""), "answered 0 characters"),
        (chat(content=None), "answered 0 characters"),
        (chat(content="x" * 4001), "answered 4001 characters, expected 1 to 4000"),
        (chat(content="A phot", finish_reason="length"), "broke off in the middle"),
    ],
)
def test_chat_answers_that_stop_the_run(
    ask: Asking, server: ImagesServer, event: Reply, message: str
) -> None:
    server.chat_events = [event]
    with pytest.raises(GenerationError, match=f"{message}.*choose another --refine-model"):
        ask("jay-0", refine_model="gpt-4o")
    assert server.paid == 0


@pytest.mark.parametrize(
    "event",
    [chat(content=None, refusal="I cannot"), chat(content="x", finish_reason="content_filter")],
)
def test_a_chat_model_that_refuses(ask: Asking, server: ImagesServer, event: Reply) -> None:
    server.chat_events = [event]
    for _ in range(2):
        with pytest.raises(RefusedError, match="gpt-4o refuses to refine"):
            ask("jay-0", refine_model="gpt-4o")
    assert len(server.posts) == 1


def test_nobody_there_stops_at_once(ask: Asking) -> None:
    with pytest.raises(GenerationError, match=r"no connection .*--base-url"):
        ask("jay-0", base_url="http://127.0.0.1:9/v1")
    assert not ask.slept
    assert ask.notes == ("0 images were paid for",)


def test_a_changed_or_missing_picture_is_not_paid_again(ask: Asking, server: ImagesServer) -> None:
    ask("jay-0")
    (file,) = (ask.folder / "raw").glob("*.png")
    file.write_bytes(picture(2))
    with pytest.raises(UsageError, match="was changed since it was paid for"):
        ask("jay-0")
    file.unlink()
    with pytest.raises(UsageError, match="was paid for and is missing"):
        ask("jay-0")
    (origin,) = (ask.folder / "raw").glob("*.json")
    origin.write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        ask("jay-0")
    shutil.rmtree(ask.folder / "raw")
    with pytest.raises(UsageError, match="put it back, or choose another output folder"):
        ask("jay-0")
    assert server.paid == 1


def test_every_place_to_die_in_pays_once(ask: Asking, server: ImagesServer) -> None:
    """The journal and the pictures as a kill would leave them, at every step of a picture."""
    (got,) = ask("jay-0")
    journal = (ask.folder / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
    files = {path: path.read_bytes() for path in (ask.folder / "raw").iterdir()}
    for kept in (("json", "png"), ("png",), ()):
        for end in (b"", journal[-1][:25]):
            (ask.folder / JOURNAL_NAME).write_bytes(b"".join(journal[:-1]) + end)
            for path, data in files.items():
                path.unlink(missing_ok=True)
                if path.suffix[1:] in kept:
                    path.write_bytes(data)
            before = len(server.posts)
            assert ask("jay-0") == [got]
            assert len(server.posts) - before == ("json" not in kept)
    assert server.paid == 1


def test_a_full_disk_stops_before_the_request(
    ask: Asking, server: ImagesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(OutputError, match="1000 bytes free, and a picture that is paid for"):
        ask("jay-0")
    assert not server.posts


def test_two_runs_in_one_folder(ask: Asking) -> None:
    with ask.open(), pytest.raises(OutputError, match="another camaudit is generating into"):
        ask.open()
    ask("jay-0")


def test_pictures_too_small_to_crop_are_not_paid(ask: Asking, server: ImagesServer) -> None:
    with pytest.raises(UsageError, match="--size 64x40 is too small: images of at least 48x48"):
        ask("jay-0", size="64x40")
    with ask.open(size="40x64") as backend, pytest.raises(UsageError, match="too small"):
        backend.generate(request())
    assert not server.posts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_url": "http://api.example.org/v1"}, "over http the key would go through the netw"),
        ({"base_url": "http://10.0.0.1/v1"}, "in clear"),
        ({"base_url": "https://me:pw@example.org/v1"}, "user names and passwords"),
        ({"base_url": "https://example.org/v1?key=1"}, "without query and fragment"),
        ({"base_url": "api.example.org"}, "--base-url: expected an https URL"),
        ({"base_url": "https://[::1/v1"}, "--base-url: .*cannot be parsed"),
        ({"model": " "}, "--model: expected a name"),
        ({"refine_model": "a\nb"}, "--refine-model: expected a name"),
        ({"size": "big"}, "--size: expected WIDTHxHEIGHT"),
        ({"price": "free"}, "--price: expected an amount"),
        ({"refine_price": "-1"}, "--refine-price: expected an amount"),
        ({"budget": "1"}, "--budget needs --price"),
        ({"max_images": -1}, "--max-images"),
        ({"rate": 0.0}, "--rate"),
        ({"timeout": float("nan")}, "--timeout"),
        ({"retries": -1}, "--retries"),
    ],
)
def test_options_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        ApiOptions(**{"model": "m", **changes})
    assert "me:pw" not in str(caught.value)
    assert "key=1" not in str(caught.value)


def test_a_key_is_needed_except_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set"):
        ImagesApi(ApiOptions(model="m"), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with ImagesServer() as server:
        Asking(server, tmp_path)("jay-0")
        assert "Authorization" not in server.posts[0].headers
        server.events = [failure(401, "who?")]
        with pytest.raises(GenerationError, match="it wants an API key; put one into"):
            Asking(server, tmp_path)("owl-1")


def test_a_proxy_never_sees_what_is_meant_for_this_machine(
    ask: Asking, server: ImagesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    ask("jay-0")
    assert server.paid == 1


@pytest.mark.parametrize("name", ["model", "quality", "refine_model", "base_url"])
def test_a_key_among_the_options_is_refused(ask: Asking, name: str) -> None:
    value = f"https://example.org/{SECRET}" if name == "base_url" else SECRET
    with pytest.raises(UsageError, match="holds the API key") as caught:
        ask("jay-0", **{name: value})
    assert SECRET not in str(caught.value)
    assert not ask.folder.exists()


ECHOES: list[Reply] = [
    failure(401, f"Incorrect API key provided: {SECRET}. Find yours at https://example.org"),
    failure(401, "Incorrect API key provided: sk-test-********zQxW."),
    failure(403, f"Authorization: Bearer {SECRET}", code=SECRET, type=SECRET),
    failure(400, f"moderation of {SECRET[3:]}", code="content_policy_violation"),
    failure(500, f"{SECRET} " * 1000),
    Reply(f"<html>{SECRET}</html>".encode(), 502, {"Content-Type": "text/html"}),
    Reply(SECRET.encode(), 400),
    Reply(SECRET.encode(), 200),
    Reply(b"", 302, {"Location": f"https://evil.example/?{SECRET}"}),
    Reply(b"", 308, {"Location": f"/{SECRET}"}),
    Reply(b"no", 429, {"Retry-After": "9999", "x-request-id": SECRET}),
    Reply(b"", 200, {"Content-Encoding": SECRET}),
    answer({"error": {"message": SECRET}, SECRET: SECRET}),
    answer({"data": [{"url": f"https://example.org/{SECRET}.png"}]}),
    answer({"data": [{"url": f"ftp://example.org/{SECRET[:12]}.png"}]}),
    answer({"data": [{"b64_json": base64.b64encode(SECRET.encode()).decode()}]}),
    answer({"data": [{"b64_json": base64.b64encode(picture(1) + SECRET.encode()).decode()}]}),
    answer(
        {
            "id": SECRET, "model": f"m-{SECRET}", "created": SECRET,
            "data": [{
                "b64_json": base64.b64encode(picture(1)).decode(),
                "revised_prompt": f"A jay and {SECRET[:9]}***{SECRET[-4:]}, {SECRET}",
            }],
        },
        headers={"x-request-id": SECRET},
    ),
]  # fmt: skip
CHAT_ECHOES = [
    chat(content=f"A jay and {SECRET}"),
    chat(content=None, refusal=f"I cannot draw {SECRET}"),
    answer({"error": {"message": SECRET}}),
]


@pytest.mark.parametrize("event", [*ECHOES, *CHAT_ECHOES, "offline", "cut", "slow"])
def test_the_key_is_nowhere(
    tmp_path: Path,
    event: Reply | str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever the service echoes: no file, log, output, message, traceback or repr holds it."""
    caplog.set_level(logging.DEBUG)
    seen: list[object] = []
    with ImagesServer() as server:
        where = {"base_url": "http://127.0.0.1:9/v1"} if event == "offline" else {}
        if isinstance(event, Reply):
            (server.chat_events if event in CHAT_ECHOES else server.events).append(event)
        elif event != "offline":
            server.events.append(cut if event == "cut" else slow(0.5))
        ask = Asking(server, tmp_path, retries=0, timeout=0.2, refine_model="gpt-4o", **where)
        for _ in range(2):
            with ask.open() as backend:
                try:
                    seen.append(backend.generate(request()))
                except (CamauditError, RefusedError) as error:
                    shown = traceback.TracebackException.from_exception(
                        error, capture_locals=not isinstance(event, Reply)
                    )
                    seen += [error, repr(error), *shown.format()]
                seen += [backend, backend.settings, backend.notes, vars(backend)]
        sent = [r.headers["Authorization"] for r in server.posts]
    assert event == "offline" or sent == [f"Bearer {SECRET}"] * len(sent) != []
    seen += [ask.told, ask.lines(), caplog.text, *capsys.readouterr()]
    text = " ".join(map(str, seen)) + everything(tmp_path).decode("latin-1")
    for piece in ("sk-test", SECRET[3:11], SECRET[-9:], SECRET[-4:], SECRET.lower()):
        assert piece not in text


def test_settings_say_what_decides_and_nothing_else(ask: Asking, server: ImagesServer) -> None:
    with ask.open(base_url=f"{server.base}/") as backend:
        assert backend.settings == {
            "backend": "api", "base_url": server.base, "model": "dall-e-3", "size": "64x48",
            "quality": None, "refine_model": None,
        }  # fmt: skip
    assert "OPENAI" not in json.dumps(backend.settings)
    assert dataclasses.asdict(ApiOptions(model="m"))["key_env"] == "OPENAI_API_KEY"
    assert server.posts == []
    assert IMAGES.startswith("/v1/")
