"""Pictures from any service that speaks OpenAI's images API, each paid for once.

What a request decides (its id, prompt and seed, with the model and its settings) names its
picture. A picture that is on disk is never asked for again; see `journal` for what a killed
process leaves.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

from camaudit.data.folders import printable, sha256_bytes
from camaudit.data.generation.budget import Budget, amount
from camaudit.data.generation.chat import Chat, Refined
from camaudit.data.generation.endpoint import MOST_BYTES, Endpoint, Reply, check_base_url, said
from camaudit.data.generation.journal import Job, Journal, Send
from camaudit.data.generation.key import Key
from camaudit.data.generation.pictures import Kept, Pictures
from camaudit.data.generation.request import JSON, Generated, RefusedError, Request
from camaudit.data.generation.sending import Sender
from camaudit.data.generation.throttle import Backoff, Throttle
from camaudit.data.web import Client, Network, shown
from camaudit.errors import (
    BrokenTransferError,
    FetchError,
    GenerationError,
    ImageError,
    OfflineError,
    UsageError,
)
from camaudit.files import alone, made_folder

__all__ = ["ApiOptions", "ImagesApi"]


@dataclass(frozen=True, kw_only=True)
class ApiOptions:
    """Which service is asked, and how.

    base_url: https, or http on this machine; `/images/generations` is appended.
    model: as the service calls it. size: `WIDTHxHEIGHT` or `auto`. quality: None for its default.
    key_env: environment variable of the key; on this machine it may be unset.
    refine_model: chat model that refines each prompt first; None for none.
    price, refine_price: of a picture and of a refined prompt, as text such as "0.04".
    budget, max_images: what may be spent in one folder, earlier runs included; None for no cap.
    rate: requests a minute, None for no limit. retries: after failures in a row.
    timeout: seconds without a byte.
    """

    model: str
    base_url: str = "https://api.openai.com/v1"
    key_env: str = "OPENAI_API_KEY"
    size: str = "1024x1024"
    quality: str | None = None
    refine_model: str | None = None
    price: str | None = None
    refine_price: str | None = None
    budget: str | None = None
    max_images: int | None = None
    rate: float | None = None
    retries: int = 5
    timeout: float = 180.0
    prices: tuple[Decimal, Decimal] = field(init=False, repr=False)
    caps: Budget = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_base_url(self.base_url)
        for name in ("model", "quality", "refine_model"):
            value = getattr(self, name)
            if value is not None and not (value.strip() and value.isprintable()):
                raise UsageError(f"{_option(name)}: expected a name; got {value!r:.60}")
        if self.size != "auto" and not re.fullmatch(r"[1-9]\d{1,4}x[1-9]\d{1,4}", self.size):
            raise UsageError(
                f"--size: expected WIDTHxHEIGHT such as 1024x1024, or auto; got {self.size!r:.60}"
            )
        self._check_numbers()
        object.__setattr__(self, "prices", self._prices())
        object.__setattr__(self, "caps", self._caps())

    def _check_numbers(self) -> None:
        for name in ("rate", "timeout"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{_option(name)}: expected a number above 0; got {value}")
        if not 0 <= self.retries <= 100:
            raise UsageError(f"--retries: expected 0 to 100; got {self.retries}")
        if self.max_images is not None and self.max_images < 0:
            raise UsageError(f"--max-images: expected 0 or more; got {self.max_images}")

    def _prices(self) -> tuple[Decimal, Decimal]:
        picture = amount(self.price or "0", "--price")
        return picture, amount(self.refine_price or "0", "--refine-price")

    def _caps(self) -> Budget:
        if self.budget is None:
            return Budget(max_images=self.max_images)
        if not self.prices[0]:
            raise UsageError(
                "--budget needs --price, what one image costs: no service says it beforehand "
                "(--max-images caps their number without a price)"
            )
        return Budget(max_images=self.max_images, money=amount(self.budget, "--budget"))


class ImagesApi:
    """The back end; a context manager that holds its folder for one process.

    `folder` keeps the journal and the pictures as they came (not the data set). `tell` hears of
    waiting. The key is read when the back end is made.
    """

    def __init__(
        self,
        options: ApiOptions,
        folder: Path | str,
        *,
        tell: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._is_local = options.base_url.startswith("http:")
        self._key = Key.from_environment(options.key_env, optional=self._is_local)
        self._check_options()
        self._network = Network(
            read_timeout=options.timeout, stall=options.timeout, stall_bytes=1 << 14,
            loopback_http=self._is_local, sleep=sleep,
        )  # fmt: skip
        self._backoff = Backoff(options.retries, sleep=sleep, tell=tell)
        root = made_folder(folder)
        with ExitStack() as stack:
            stack.enter_context(alone(root, "generating into"))
            self._journal = Journal(root)
            self._pictures = Pictures(root)
            endpoint = Endpoint(options.base_url, self._key, self._network)
            self._endpoint = stack.enter_context(endpoint)
            self._sender = Sender(
                endpoint, self._journal, budget=options.caps, backoff=self._backoff,
                throttle=Throttle(options.rate, clock=clock, sleep=sleep),
            )  # fmt: skip
            self._stack = stack.pop_all()

    def __enter__(self) -> ImagesApi:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def settings(self) -> dict[str, JSON]:
        """What decides the pictures, besides the requests."""
        options = self._options
        return {
            "backend": "api",
            "base_url": options.base_url.rstrip("/"),
            "model": options.model,
            "size": options.size,
            "quality": options.quality,
            "refine_model": options.refine_model,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What was paid in this folder, and what may have been paid in vain."""
        spent = self._journal.spending
        total = "at most" if spent.unsure else "in all"
        money = f", {spent.money:f} {total} at the prices given" if spent.money else ""
        notes = [f"{spent.paid} images were paid for{money}"]
        if spent.unsure:
            notes.append(
                f"{spent.unsure} requests for images ended without an answer (a broken connection, "
                "a timeout or a killed process) and may have been paid for as well: they were sent "
                "again with the same Idempotency-Key, for which a service that knows this header "
                "charges once"
            )
        if self._journal.wasted:
            notes.append(f"{self._journal.wasted} of the images paid for could not be used")
        return tuple(notes)

    def generate(self, request: Request) -> Generated:
        """The picture for a request: from disk if it was paid for already, else from the service.

        Raises:
            RefusedError: if the service refuses the content of this request, now or earlier.
            BudgetError: before a request that could exceed the budget.
            UsageError: if the pictures would be too small, or a file that was paid for is gone.
            GenerationError: if the service refuses altogether, keeps failing, or sends no picture.
            OutputError: if the disk is full.
        """
        self._check_size(request)
        price, _ = self._options.prices
        job = Job(id=request.id, what="picture", digest=self._digest(request), price=price)
        kept = self._found(job) or self._made(request, job)
        if kept.picture is None:
            raise self._gone(job, "is missing")
        return Generated(picture=kept.picture, generation=kept.generation)

    def _found(self, job: Job) -> Kept | None:
        """A picture that was paid for in an earlier run, or by an earlier call."""
        last = self._journal.last(job)
        if last is None or last.result in {"failed", "unusable"}:
            return None
        if last.result == "refused":
            raise RefusedError(str(last.facts.get("reason")))
        kept = self._pictures.find(job)
        if kept is not None and kept.link is not None:
            return self._fetched(job, last, kept.link, kept.generation)
        if kept is None or kept.picture is None:
            if last.result is None:  # a process died before the answer came, or was written
                return None
            raise self._gone(job, "is missing")
        if last.result != "picture":
            self._settle_picture(last, kept)
        elif last.facts.get("sha256") != kept.sha256:
            raise self._gone(job, "is not the one in the journal")
        return kept

    def _made(self, request: Request, job: Job) -> Kept:
        refined = self._refined(request)
        options = self._options
        prompt = refined.text if refined else request.prompt
        body: dict[str, Any] = {"model": options.model, "prompt": prompt, "n": 1}
        body["size"] = options.size
        if options.quality is not None:
            body["quality"] = options.quality
        send, reply = self._sender.obtain(job, "images/generations", body)
        generation = self._generation(request, refined, reply)
        try:
            link, picture = self._read(reply)
            if picture is not None:
                return self._keep(job, send, picture, generation)
        except (GenerationError, ImageError) as error:
            raise self._unusable(job, send, str(error)) from None
        self._pictures.keep_link(job, link, generation)
        self._journal.settle(send, "answered", "yes")
        return self._fetched(job, send, link, generation)

    def _refined(self, request: Request) -> Refined | None:
        model = self._options.refine_model
        if model is None:
            return None
        parts = [self.settings["base_url"], model, request.id, request.prompt, request.seed]
        picture_price, price = self._options.prices
        job = Job(id=request.id, what="prompt", digest=_digest(parts), price=price)
        last = self._journal.last(job)
        if last is None or last.result != "text":  # no prompt for a picture that cannot be paid
            spent = self._journal.spending
            self._options.caps.check(spent, images=1, price=price + picture_price)
        return Chat(self._sender, self._journal, model=model).refine(request.prompt, job)

    def _read(self, reply: Reply) -> tuple[str, bytes | None]:
        """The picture of an answer, or the link to it."""
        data = reply.body.get("data")
        entry = data[0] if isinstance(data, list) and data else None
        if not isinstance(entry, dict):
            words, _ = said(reply.body)
            raise GenerationError(f"it holds no data{f' ({words[:200]})' if words else ''}")
        text, link = entry.get("b64_json"), entry.get("url")
        if isinstance(link, str) and link.startswith("data:"):
            text, link = link, None
        if isinstance(text, str) and text:
            return "", _decoded(text)
        if isinstance(link, str) and link:
            if self._key.is_in(link):
                raise GenerationError("its link holds the API key, which no other host may see")
            return link, None
        raise GenerationError("its data hold neither b64_json nor url")

    def _fetched(self, job: Job, send: Send, link: str, generation: dict[str, JSON]) -> Kept:
        """The picture at a link, asked for without the key."""
        failures = 0
        while True:
            try:
                picture = self._download(link)
                break
            except (BrokenTransferError, OfflineError) as error:
                failures += 1
                asked = error.retry_after if isinstance(error, BrokenTransferError) else None
                why = f"the picture of {job.id} is paid for and still lies at its link: {error}"
                self._backoff.wait(why, failures=failures, asked=asked, name=job.name)
            except (FetchError, UsageError) as error:
                raise self._unusable(job, send, str(error)) from None
        try:
            return self._keep(job, send, picture, generation)
        except (GenerationError, ImageError) as error:
            raise self._unusable(job, send, f"{shown(link)}: {error}") from None

    def _download(self, link: str) -> bytes:
        with Client(self._network) as client, client.open(link) as answer:
            if answer.status != 200:
                raise answer.refuse()
            return answer.body(MOST_BYTES)

    def _keep(self, job: Job, send: Send, picture: bytes, generation: dict[str, JSON]) -> Kept:
        if self._key.is_in(picture):
            raise GenerationError("the picture holds the API key in its bytes")
        kept = self._pictures.keep(job, picture, generation)
        self._settle_picture(send, kept)
        return kept

    def _settle_picture(self, send: Send, kept: Kept) -> None:
        self._journal.settle(send, "picture", "yes", file=kept.file, sha256=kept.sha256)

    def _unusable(self, job: Job, send: Send, why: str) -> GenerationError:
        """The picture is on the bill and cannot be had; the next run asks anew."""
        reason = self._key.redact(printable(why))
        self._pictures.drop(job)
        self._journal.settle(send, "unusable", "yes", reason=reason)
        return GenerationError(
            f"the answer of {self._endpoint.host} for {printable(job.id)} cannot be used: "
            f"{reason}. It counts as paid; all others are kept, and the same command asks for this "
            "one anew, which is paid again"
        )

    def _gone(self, job: Job, what: str) -> UsageError:
        return UsageError(
            f"the picture of {printable(job.id)} was paid for and {what} in "
            f"{printable(str(self._pictures.folder))} ({job.name}): put it back, or choose another "
            "output folder, which pays anew"
        )

    def _generation(
        self, request: Request, refined: Refined | None, reply: Reply
    ) -> dict[str, JSON]:
        """What the manifest says of a picture's origin."""
        data = reply.body.get("data")
        entry = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
        options, body = self._options, reply.body
        price, refine_price = options.prices
        created = body.get("created")
        cost = float(price + (refine_price if refined else 0)) if options.price else None
        return {
            "backend": "api",
            "host": self._endpoint.host,
            "model": _text(body.get("model")) or options.model,
            "prompt": request.prompt,
            "refined_prompt": refined.text if refined else None,
            "refine_model": refined.model if refined else None,
            "refine_response_id": refined.response_id if refined else None,
            "revised_prompt": _text(entry.get("revised_prompt")),
            "size": options.size,
            "quality": options.quality,
            "seed": request.seed,
            "response_id": _text(body.get("id")) or reply.id,
            "created": created if type(created) is int else None,
            "cost": cost,
        }

    def _digest(self, request: Request) -> str:
        return _digest([self.settings, request.id, request.prompt, request.seed])

    def _check_size(self, request: Request) -> None:
        """Refuse, before anything is paid, pictures that are too small to be cropped."""
        if self._options.size == "auto":
            return
        width, height = (int(side) for side in self._options.size.split("x"))
        if width < request.size[1] or height < request.size[0]:
            wanted = f"{request.size[1]}x{request.size[0]}"
            raise UsageError(
                f"--size {self._options.size} is too small: images of at least {wanted} (width x "
                "height) are needed to crop from; choose a larger --size or a smaller --image-size"
            )

    def _check_options(self) -> None:
        """Refuse a key that was given as an option, too: options go into the manifest."""
        for name in ("base_url", "model", "quality", "refine_model"):
            if self._key.is_in(getattr(self._options, name) or ""):
                raise UsageError(
                    f"{_option(name)} holds the API key, which would go into the manifest: leave "
                    "the key in its environment variable alone"
                )


def _decoded(text: str) -> bytes:
    """The bytes of base64, with or without the start of a data URL."""
    head = text[:200].partition(",")[0]
    body = text[len(head) + 1 :] if head.startswith("data:") else text
    if len(body) > MOST_BYTES:
        raise GenerationError("its picture is too large")
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise GenerationError("its b64_json is no base64") from error


def _digest(parts: list[Any]) -> str:
    text = json.dumps(parts, sort_keys=True)
    return sha256_bytes(text.encode("ascii"))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _text(value: object) -> str | None:
    return value[:4000] if isinstance(value, str) and value else None
