"""Decoding in another process, which is ended when an image takes too long.

A file of a few kilobytes can keep a decoder busy for hours (a progressive JPEG of thousands of
scans), take all memory (a BMP whose runs skip rows) or crash it. Python cannot interrupt a decoder,
so that whatever is not known to be quick is decoded by a helper: a process that is started when the
first such file comes and answers one request after the other. It has a time limit for each image
and a memory limit, and its Pillow has the settings that Pillow comes with, whatever this process
has changed. It is no sandbox: it has the user's rights.
"""

from __future__ import annotations

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from camaudit.data.decoding import Decoded, decoded
from camaudit.errors import ImageError

__all__ = ["SECONDS", "decode_elsewhere", "is_quick", "serve"]

SECONDS = 60.0  #: for one image
_MEMORY = 8 << 30  # bytes that a helper may take beside what it starts with
_QUICK = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_QUICK_BYTES = 1 << 20
_SCANS = 64  # of a JPEG; a progressive one has about ten
_REQUEST = struct.Struct(">QI")  # bytes that follow, smallest side
_ANSWER = struct.Struct(">I")  # bytes of JSON that follow
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from camaudit.data.decoder import serve; serve()"
)


def is_quick(data: bytes) -> bool:
    """Whether no file like this one takes a decoder long: it is decoded where it is.

    That is PNG and JPEG of up to a mebibyte, and of a JPEG no more than 64 scans: time grows with
    the pixels, which are bounded, times the scans. The worst that could be made took 15 seconds
    (100 megapixels of 16-bit RGBA). Not where Pillow was told to take truncated files for whole.
    """
    return (
        len(data) <= _QUICK_BYTES
        and data.startswith(_QUICK)
        and data.count(b"\xff\xda") <= _SCANS
        and not ImageFile.LOAD_TRUNCATED_IMAGES
    )


def decode_elsewhere(data: bytes, *, min_side: int, seconds: float | None = None) -> Decoded:
    """:func:`camaudit.data.decoding.decoded` in a helper, for up to `seconds` (:data:`SECONDS`).

    Raises :class:`ImageError` as that does, and where the time was over or the helper crashed; the
    next image then gets another one.
    """
    helper = _helper()
    answered = False
    try:
        found = helper.ask(data, min_side, SECONDS if seconds is None else seconds)
        answered = True
        return found
    except ImageError:
        answered = helper.alive
        raise
    finally:
        if answered:
            _idle.append(helper)
        else:
            helper.end()


class _Helper:
    """A process that decodes, and the pipes to it."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        path = [root, *(str(Path(place).absolute()) for place in sys.path)]
        command = [sys.executable, "-c", _START, json.dumps(path)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own code
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=os.name == "posix",  # Ctrl-C is for this process
            )  # fmt: skip
        except OSError as error:
            raise ImageError(
                "it needs a process of its own to be decoded in, and none can be started: "
                f"{error.strerror or error}"
            ) from error
        self._late = False

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return not self._late and self._process.poll() is None

    def ask(self, data: bytes, min_side: int, seconds: float) -> Decoded:
        """Its answer, or :class:`ImageError`."""
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            return self._answer(data, min_side)
        except (OSError, EOFError) as error:
            self.end()
            if self._late:
                raise ImageError(
                    f"decoding it takes more than {seconds:g} seconds; save it anew, plainly"
                ) from error
            raise ImageError(
                "a decoder crashed on it; it is damaged, or meant to do harm"
            ) from error
        finally:
            timer.cancel()

    def end(self) -> None:
        """End the process and close its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _expire(self) -> None:
        self._late = True
        self._process.kill()

    def _answer(self, data: bytes, min_side: int) -> Decoded:
        to, back = self._process.stdin, self._process.stdout
        if to is None or back is None:
            raise EOFError
        to.write(_REQUEST.pack(len(data), min_side))
        to.write(data)
        to.flush()
        (length,) = _ANSWER.unpack(_exactly(back, _ANSWER.size))
        answer: dict[str, Any] = json.loads(_exactly(back, length))
        if "refused" in answer:
            raise ImageError(answer["refused"])
        pixels = np.empty(answer["shape"], np.uint8)
        _fill(back, pixels.data.cast("B"))
        return Decoded(pixels, tuple(answer["notes"]))


_idle: list[_Helper] = []


def _helper() -> _Helper:
    """One that waits, or a new one: threads that decode at once have one each."""
    while _idle:
        try:
            helper = _idle.pop()
        except IndexError:  # another thread was faster
            break
        if helper.alive:
            return helper
        helper.end()
    return _Helper()


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


if hasattr(os, "register_at_fork"):  # a fork must not talk through its parent's pipes
    os.register_at_fork(after_in_child=_idle.clear)


def serve() -> None:
    """Answer requests on stdin until it ends; the main function of a helper."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    _bound_memory()
    Image.MAX_IMAGE_PIXELS = None  # ours is told from the header
    warnings.simplefilter("ignore")
    while len(head := requests.read(_REQUEST.size)) == _REQUEST.size:
        length, min_side = _REQUEST.unpack(head)
        answer: dict[str, Any]
        pixels = memoryview(b"")
        try:
            found = decoded(_exactly(requests, length), min_side=min_side)
            answer = {"shape": found.pixels.shape, "notes": found.notes}
            pixels = np.ascontiguousarray(found.pixels).data.cast("B")
        except ImageError as error:
            answer = {"refused": str(error)}
        text = json.dumps(answer).encode()
        answers.write(_ANSWER.pack(len(text)) + text)
        answers.write(pixels)
        answers.flush()


def _bound_memory() -> None:
    """Bound this process's memory, where the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + _MEMORY
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _fill(stream: IO[bytes], place: memoryview) -> None:
    done = 0
    while done < len(place):
        count = stream.readinto(place[done:])  # type: ignore[attr-defined] # of a BufferedReader
        if not count:
            raise EOFError
        done += count
