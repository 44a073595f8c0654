"""A real HTTP server on loopback that speaks the images API, keeps a bill, and fails on demand."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from tests.file_server import FileServer, Reply, Request

IMAGES = "/v1/images/generations"
CHAT = "/v1/chat/completions"

#: What happens instead of a success: an answer before anything is paid, or a change of the answer
#: after it was paid.
Event = Reply | Callable[[Reply], Reply]


def failure(
    status: int, message: str, headers: Mapping[str, str] | None = None, **codes: str | None
) -> Reply:
    """An error as the API words it."""
    body = {"error": {"message": message, "type": None, "param": None, "code": None, **codes}}
    return answer(body, status, headers)


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON answer."""
    data = json.dumps(body).encode()
    return Reply(data, status, {"Content-Type": "application/json", **(headers or {})})


def cut(reply: Reply) -> Reply:
    """The answer, paid for, breaks off in the middle of its body."""
    return replace(reply, cut=len(reply.body) // 2)


def slow(seconds: float) -> Callable[[Reply], Reply]:
    """The answer, paid for, comes late."""
    return lambda reply: replace(reply, delay=seconds)


def picture(number: int, side: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    """A picture that no other number has: (width, height) as asked, two halves of noise."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (8, 6, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize(side, Image.Resampling.BILINEAR).save(file, kind)
    return file.getvalue()


class ImagesServer(FileServer):
    """`POST /v1/images/generations` and `/v1/chat/completions`, with a list of events for each.

    `bill` counts what was paid by Idempotency-Key ("" without one). With `honours_keys` a key
    that was paid gets the same answer again; else every answer is paid. `by_link` answers with
    links to `/pictures/N`. `before` is called before each answer leaves, which is paid by then,
    and `before_link` before each picture at a link, with its number from 1.
    """

    def __init__(
        self,
        *,
        key: str | None = None,
        honours_keys: bool = True,
        by_link: bool = False,
        size: tuple[int, int] | None = None,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(certificate=certificate)
        self.base = f"{self.url}/v1"
        self.events: list[Event] = []
        self.chat_events: list[Event] = []
        self.link_events: list[Reply] = []
        self.bill: Counter[str] = Counter()
        self.chat_bill: Counter[str] = Counter()
        self.before: Callable[[int], None] = lambda _: None
        self.before_link: Callable[[int], None] = lambda _: None
        self._key, self._honours, self._by_link, self._size = key, honours_keys, by_link, size
        self._given: dict[str, Reply] = {}
        self._lock = threading.Lock()
        self.answers[IMAGES] = self._images
        self.answers[CHAT] = self._chat

    @property
    def paid(self) -> int:
        """Images on the bill."""
        return sum(self.bill.values())

    @property
    def posts(self) -> list[Request]:
        """The requests that may cost something."""
        return [request for request in self.requests if request.body is not None]

    def bodies(self, path: str = IMAGES) -> list[dict[str, Any]]:
        """What was posted to a path."""
        return [json.loads(r.body or b"") for r in self.posts if r.path == path]

    def _images(self, request: Request) -> Reply:
        number = sum(r.path == IMAGES for r in self.posts)
        reply = self._sold(request, self.events, self.bill, self._image)
        self.before(number)
        return reply

    def _chat(self, request: Request) -> Reply:
        return self._sold(request, self.chat_events, self.chat_bill, _refined)

    def _sold(
        self,
        request: Request,
        events: list[Event],
        bill: Counter[str],
        make: Callable[[dict[str, Any], int], Reply],
    ) -> Reply:
        with self._lock:
            came = request.headers.get("Authorization")
            if self._key is not None and came != f"Bearer {self._key}":
                return failure(401, f"Incorrect API key provided: {came}", code="invalid_api_key")
            event = events.pop(0) if events else None
            if isinstance(event, Reply):
                return event
            name = request.headers.get("Idempotency-Key", "")
            reply = self._given.get(name) if name and self._honours else None
            if reply is None:
                bill[name] += 1
                reply = self._given[name] = make(
                    json.loads(request.body or b""), sum(bill.values())
                )
            return event(reply) if event else reply

    def _image(self, body: dict[str, Any], number: int) -> Reply:
        width, height = self._size or (int(side) for side in body["size"].split("x"))
        data = picture(number, (width, height))
        entry: dict[str, Any] = {"revised_prompt": f"revised: {body['prompt']}"}
        if self._by_link:
            self.answers[f"/pictures/{number}"] = self._linked(number, data)
            entry["url"] = f"{self.url}/pictures/{number}?sig=for-this-picture-alone"
        else:
            entry["b64_json"] = base64.b64encode(data).decode()
        headers = {"x-request-id": f"req-{number}"}
        return answer({"created": 1_700_000_000 + number, "data": [entry]}, headers=headers)

    def _linked(self, number: int, data: bytes) -> Callable[[Request], Reply]:
        def given(_: Request) -> Reply:
            self.before_link(number)
            return self.link_events.pop(0) if self.link_events else Reply(data)

        return given


def _refined(body: dict[str, Any], number: int) -> Reply:
    asked = body["messages"][-1]["content"]
    message = {"role": "assistant", "content": f'"Refined:\n{asked}"', "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return answer({"id": f"chat-{number}", "model": f"{body['model']}-2", "choices": [choice]})
