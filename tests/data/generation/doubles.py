"""A back end that paints its pictures, and counts what it is asked for."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from PIL import Image

from camaudit.data.generation.making import GenOptions, build_stack_gen
from camaudit.data.generation.request import Generated, RefusedError
from camaudit.data.generation.subjects import choose_subjects
from camaudit.data.seam import lower_rows

SIZE = 36


def picture(seed, *, height=96, width=120, boundary=0.5):
    """Two textured halves whose colours differ, above and below `boundary` of the height."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    pixels[: round(boundary * height)] += np.array([120, 20, 0], dtype=np.uint8)
    return pixels


def encoded(pixels, form="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


class Painter:
    """`refuse` names classes that are always refused, `answers` replaces pictures of classes."""

    def __init__(self, *, refuse=(), answers=None, settings=None, boundary=0.5):
        self.asked = []
        self.refuse = set(refuse)
        self.answers = answers or {}
        self.boundary = boundary
        self.settings = settings or {"backend": "painter", "model": "p1"}
        self.notes = ("painted",)

    def generate(self, request):
        self.asked.append(request)
        if request.label_name in self.refuse:
            raise RefusedError("content policy")
        data = self.answers.get(request.label_name)
        if data is None:
            data = encoded(picture(request.seed, boundary=self.boundary))
        digest = hashlib.sha256(data).hexdigest()
        return Generated(picture=data, generation={"model": "p1", "response_id": digest[:8]})


def options(*, classes="a,b,c", **changes):
    seed = changes.get("seed", 0)
    chosen = {
        "subjects": choose_subjects(classes, seed=seed),
        "wall": lower_rows(9, SIZE),
        "size": (SIZE, SIZE),
        **changes,
    }
    return GenOptions(**chosen)


def make(backend, out, *, reject=None, boundaries=None, review=False, force=False, **changes):
    return build_stack_gen(
        backend, out, options=options(**changes), licence="painted; CC0", reject=reject,
        boundaries=boundaries, review=review, force=force,
    )  # fmt: skip
