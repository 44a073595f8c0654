"""What happens to a repository, or to a process, in an accident.

A function of a repository changes it, and may return further words of the command line.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from camaudit.importing import named
from tests.gates.workspace import BASELINE, OUTPUTS, Workspace

Words = Sequence[str] | None
SHA = "ab" * 32
CANNOT = 77  #: exit code of a process in which this system lets an accident not happen
# Linux' flags of unshare and mount
_NEW_MOUNTS, _PRIVATE, _BIND, _AGAIN, _READ_ONLY = 0x20000, 0x44000, 0x1000, 0x20, 1


def edited(old: str, new: str) -> Callable[[Workspace], Words]:
    """The policy says `new` in place of `old`."""

    def happens(place: Workspace) -> Words:
        place.edit(old, new)
        return None

    return happens


def explained(name: str) -> Callable[[Workspace], Words]:
    """The policy's explainer is another one of explainers.py."""
    return edited("explainers.py:top", f"explainers.py:{name}")


def checked(name: str, require: str, settings: str) -> Callable[[Workspace], Words]:
    """Another explainer, put to another check."""

    def happens(place: Workspace) -> Words:
        place.edit("explainers.py:top", f"explainers.py:{name}")
        place.edit("dead_zone.mu_l1 <= 0.05", require)
        place.edit('wall = "split"\n', "")
        place.edit("[run]", f"[run]\n{settings}")
        return None

    return happens


def modelled(spec: str) -> Callable[[Workspace], Words]:
    """The policy's model is another one."""
    return edited("subject.py:build", spec)


def finished(changed: Callable[[dict[str, Any]], Any]) -> Callable[[Workspace], Words]:
    """A finished run is judged whose results.json was changed."""

    def happens(place: Workspace) -> Words:
        place.change("run/results.json", changed)
        return ["--run", "run"]

    return happens


def written(path: str, content: bytes, *words: str) -> Callable[[Workspace], Words]:
    """A file holds something else."""

    def happens(place: Workspace) -> Words:
        (place.folder / path).write_bytes(content)
        return words

    return happens


def based(content: Callable[[bytes], bytes] | None) -> Callable[[Workspace], Words]:
    """A condition relative to a baseline: the earlier run, changed; None: there is none."""

    def happens(place: Workspace) -> Words:
        place.edit('require = "dead_zone.mu_l1 <= 0.05"', BASELINE)
        if content is not None:
            earlier = (place.folder / "run/results.json").read_bytes()
            (place.folder / "baseline.json").write_bytes(content(earlier))
        return ["--baseline", "baseline.json"]

    return happens


def changed_json(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """A change of bytes that hold JSON."""

    def changed(content: bytes) -> bytes:
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return changed


def cut(content: bytes) -> bytes:
    """The same without its end."""
    return content[:-99]


def other_images(run: dict[str, Any]) -> None:
    for number, image in enumerate(run["images"]):
        image["sha256"] = f"{number:064x}"


def fewer(part: str) -> Callable[[dict[str, Any]], None]:
    """A list of results.json has lost its last entry."""

    def change(run: dict[str, Any]) -> None:
        run[part] = run[part][:-1]

    return change


def setting(part: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    """An object in results.json holds something else."""
    return lambda run: run[part].update(values)


def figure(value: Any) -> Callable[[dict[str, Any]], None]:
    """One figure of the explainer that the policy binds is something else."""

    def change(run: dict[str, Any]) -> None:
        (record, *_) = [one for one in run["records"] if one["method"] == "top"]
        record["mu_l1"] = value

    return change


def cut_run(place: Workspace) -> Words:
    path = place.folder / "run/results.json"
    path.write_bytes(cut(path.read_bytes()))
    return ["--run", "run"]


def emptied(place: Workspace) -> Words:
    for path in (place.folder / "photos").iterdir():
        path.unlink()
    return None


def broken_images(place: Workspace) -> Words:
    for path in (place.folder / "photos").iterdir():
        path.write_bytes(b"no picture")
    return None


def too_few(place: Workspace) -> Words:
    for path in sorted((place.folder / "photos").iterdir())[5:]:
        path.unlink()
    return None


def copied_images(place: Workspace) -> Words:
    paths = sorted((place.folder / "photos").iterdir())
    for path in paths[1:]:
        path.write_bytes(paths[0].read_bytes())
    return None


def pinned(table: str, key: str) -> Callable[[Workspace], Words]:
    """The policy pins a hash that is not the run's."""
    return edited(f"[{table}]", f'[{table}]\n{key} = "{SHA}"')


def weights(content: Callable[[Path], bytes], *, pin: bool = False) -> Callable[[Workspace], Words]:
    """A weights file made with the repository's folder, its hash pinned or not."""

    def happens(place: Workspace) -> Words:
        (place.folder / "weights.safetensors").write_bytes(content(place.folder))
        pins = f'weights_sha256 = "{SHA}"\n' if pin else ""
        place.edit("[subject]", f'[subject]\nweights = "weights.safetensors"\n{pins}')
        return None

    return happens


def other_weights(_folder: Path) -> bytes:
    """Weights of a network of one layer."""
    return save({"fc.weight": torch.zeros(3, 3)})


def own_weights(folder: Path) -> bytes:
    """Weights of the policy's model."""
    build = named(str(folder / "subject.py"), "build", what="the model")
    return save(build().state_dict())


def cut_weights(folder: Path) -> bytes:
    """The same without their end."""
    return cut(own_weights(folder))


def waived(expires: str) -> Callable[[Workspace], Words]:
    """The condition fails, and is waived until a day."""

    def happens(place: Workspace) -> Words:
        place.edit("explainers.py:top", "explainers.py:spread")
        waiver = f'[[waiver]]\ncondition = "low"\nreason = "later"\nexpires = {expires}\n'
        place.edit("[[condition]]", f"{waiver}\n[[condition]]")
        return None

    return happens


def file_for_folder(place: Workspace) -> Words:
    (place.folder / "taken").write_text("a file")
    return ["--out", "taken/gate"]


def unwritten(place: Workspace) -> Words:
    place.policy.unlink()
    return None


def unconditional(place: Workspace) -> Words:
    text = place.policy.read_text(encoding="utf-8")
    place.policy.write_text(text.partition("[[condition]]")[0], encoding="utf-8")
    return None


def two_policies(place: Workspace) -> Words:
    (place.folder / "pyproject.toml").write_text("[tool.camaudit]\nversion = 1\n")
    return None


def summary_is_a_folder(place: Workspace) -> Words:
    (place.folder / "summary").mkdir()
    return None


def no_room() -> None:
    """No file may grow beyond 20 000 bytes: results.json does, gate.json does not."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def no_room_at_all() -> None:
    """No file may grow beyond 1 000 bytes, which JUnit XML exceeds."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))


def summary_in_a_folder() -> None:
    os.environ["GITHUB_STEP_SUMMARY"] = "summary"


def read_only() -> None:
    """The output folder lies on a disk that nothing can be written on."""
    _mounted((b"reports", b"reports", _BIND, b""),
             (b"reports", b"reports", _AGAIN | _BIND | _READ_ONLY, b""))  # fmt: skip


def full_disk() -> None:
    """It lies on a disk of 64 kB, less than the report takes."""
    _mounted((b"tmpfs", b"reports", 0, b"size=64k"))


def _mounted(*disks: tuple[bytes, bytes, int, bytes]) -> None:
    """Mount disks for this process alone, which ends where it may not."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_NEW_MOUNTS):
        os._exit(CANNOT)
    for source, folder, flags, options in ((b"none", b"/", _PRIVATE, b""), *disks):
        if library.mount(source, folder, b"tmpfs", flags, options):
            os._exit(CANNOT)


def close_stdout() -> None:
    """As `>&-` leaves it."""
    os.close(1)
    sys.stdout = None  # type: ignore[assignment]


def elsewhere(place: Workspace) -> Words:
    place.edit("explainers.py:top", "explainers.py:spread")
    place.here = place.folder / "deep"
    place.here.mkdir()
    return ["--policy", "../camaudit.toml"]


def nothing(_place: Workspace) -> Words:
    return None


def junit_at(path: str) -> Callable[[Workspace], Words]:
    """The JUnit file is to be another one."""

    def happens(place: Workspace) -> Words:
        (place.folder / OUTPUTS["junit"]).unlink()
        return ["--junit", path]

    return happens


def words(*given: str) -> Callable[[Workspace], Words]:
    """The command line says more."""
    return lambda _place: given
