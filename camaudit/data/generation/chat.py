"""Refining prompts with a chat model, each of them once: the text is kept in the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from camaudit.data.generation.endpoint import Reply, said
from camaudit.data.generation.journal import Job, Journal, Send
from camaudit.data.generation.prompts import REFINEMENT
from camaudit.data.generation.request import RefusedError
from camaudit.data.generation.sending import Sender
from camaudit.errors import GenerationError

__all__ = ["Chat", "Refined"]

_LONGEST = 4000  # what DALL·E 3 reads


@dataclass(frozen=True)
class Refined:
    """A prompt as the chat model put it, the model's own name and the id of its answer."""

    text: str
    model: str
    response_id: str | None


class Chat:
    """The chat model `model` of a service."""

    def __init__(self, sender: Sender, journal: Journal, *, model: str) -> None:
        self._sender = sender
        self._journal = journal
        self._model = model

    def refine(self, prompt: str, job: Job) -> Refined:
        """The refined prompt: from the journal if it is there, else from the model.

        Raises:
            RefusedError: if the model refuses this prompt.
            GenerationError: if it does not answer with a text of 1 to 4000 characters.
        """
        last = self._journal.last(job)
        if last is not None and last.result == "text":
            return _kept(last)
        if last is not None and last.result == "refused":
            raise RefusedError(str(last.facts.get("reason")))
        asked = [{"role": "system", "content": REFINEMENT}, {"role": "user", "content": prompt}]
        body = {"model": self._model, "messages": asked}
        send, reply = self._sender.obtain(job, "chat/completions", body)
        try:
            refined = self._read(reply)
        except RefusedError as error:
            self._journal.settle(send, "refused", "yes", reason=str(error))
            raise
        except GenerationError as error:
            self._journal.settle(send, "unusable", "yes", reason=str(error))
            raise
        self._journal.settle(
            send, "text", "yes", text=refined.text, model=refined.model,
            response_id=refined.response_id,
        )  # fmt: skip
        return refined

    def _read(self, reply: Reply) -> Refined:
        choices = reply.body.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            words, _ = said(reply.body)
            raise self._unusable(f"sent no choices{f' ({words[:200]})' if words else ''}")
        if message.get("refusal") or choice.get("finish_reason") == "content_filter":
            why = message.get("refusal") or "its content filter applies"
            raise RefusedError(f"{self._model} refuses to refine the prompt: {why:.200}")
        if choice.get("finish_reason") == "length":
            raise self._unusable("broke off in the middle of a sentence (finish_reason length)")
        content = message.get("content")
        text = _plain(content) if isinstance(content, str) else ""
        if not 0 < len(text) <= _LONGEST:
            raise self._unusable(f"answered {len(text)} characters, expected 1 to {_LONGEST}")
        return Refined(text, _text(reply.body, "model") or self._model, _id(reply))

    def _unusable(self, what: str) -> GenerationError:
        return GenerationError(
            f"the chat model {self._model} {what}: choose another --refine-model, or leave it out "
            "to send the paper's prompts as they are"
        )


def _kept(send: Send) -> Refined:
    text, model = send.facts.get("text"), send.facts.get("model")
    if not isinstance(text, str) or not isinstance(model, str):
        raise GenerationError(
            f"request {send.number} of the journal has lost its text or its model: put an "
            "unchanged copy of the journal back"
        )
    answer = send.facts.get("response_id")
    return Refined(text, model, answer if isinstance(answer, str) else None)


def _plain(text: str) -> str:
    """One line, without quotation marks around it."""
    line = " ".join(text.split())
    pairs = {'"': '"', "“": "”", "'": "'"}
    is_quoted = len(line) > 1 and pairs.get(line[0]) == line[-1]
    return line[1:-1].strip() if is_quoted else line


def _id(reply: Reply) -> str | None:
    return _text(reply.body, "id") or reply.id


def _text(body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    return value[:200] if isinstance(value, str) and value else None
