"""What may go wrong around a gate, and what it must answer; docs/gates.md shows the table.

Each accident happens in a repository whose gate passes, and is all that is wrong there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.gates import happenings as it
from tests.gates.workspace import Workspace

__all__ = ["ACCIDENTS", "Accident"]


@dataclass(frozen=True)
class Accident:
    """`happens` changes the repository, and may return further words of the command line.

    code: what the gate must exit with. says: a piece of what it must print. process: it happens to
    a process of its own, in which `before` is called first. python: options of an interpreter of
    its own. stands: outputs of the earlier gate
    that nothing can take away.
    """

    name: str
    happens: Callable[[Workspace], Sequence[str] | None]
    code: int
    says: str
    process: bool = False
    before: Callable[[], object] | None = None
    python: tuple[str, ...] = ()
    stands: bool = False


_MODEL = [
    Accident("the model's file is missing", it.modelled("gone.py:build"), 2, "no file"),
    Accident("the factory raises", it.modelled("subject.py:broken"), 2, "no such checkpoint"),
    Accident("the factory calls `sys.exit(0)`", it.modelled("subject.py:leave"), 2, "SystemExit"),
    Accident(
        "the model calls `sys.exit(0)`", it.modelled("explainers.py:leaving_model"), 3,
        "ended the program",
    ),
    Accident(
        "the model is in training mode", it.modelled("subject.py:training"), 2, "training mode"
    ),
    Accident("the model's logits are NaN", it.modelled("subject.py:nan"), 3, "logits are NaN"),
    Accident("the layer is missing", it.edited('"0.6"', '"features.29"'), 2, "features.29"),
    Accident(
        "the wall leaves no dead row", it.edited("[subject]", "[subject]\nlive_rows = 8"), 2,
        "needs a live and a dead one",
    ),
    Accident("the weights are of another model", it.weights(it.other_weights), 2, "do not fit"),
    Accident("the weights file is cut off", it.weights(it.cut_weights), 2, "not fully covered"),
    Accident(
        "the weights file has another hash", it.weights(it.own_weights, pin=True), 3,
        "weights_sha256",
    ),
    Accident(
        "the model's state has another hash", it.pinned("subject", "state_sha256"), 3,
        "state_sha256",
    ),
]  # fmt: skip

_IMAGES = [
    Accident("the images have another hash", it.pinned("images", "sha256"), 3, "images_sha256"),
    Accident("the image folder is empty", it.emptied, 2, "holds no image"),
    Accident("every image is a broken file", it.broken_images, 2, "at least one readable"),
    Accident("there are five images", it.too_few, 4, "fewer than 6"),
    Accident("every image is a copy of one", it.copied_images, 4, "fewer than 6"),
]

_EXPLAINER = [
    Accident("the explainer is missing", it.explained("absent"), 2, "absent"),
    Accident("the explainer raises", it.explained("raises"), 3, "out of memory"),
    Accident("the explainer returns NaN", it.explained("nan"), 3, "NaN"),
    Accident("the explainer returns zeros", it.explained("zeros"), 4, "degenerate"),
    Accident("the explainer returns another shape", it.explained("flat"), 3, "shape"),
    Accident("the explainer changes the model", it.explained("writes"), 3, "wrote into the model"),
    Accident("the explainer calls `sys.exit(0)`", it.explained("leaves"), 3, "SystemExit"),
    Accident(
        "the explainer raises in the check `mprt`",
        it.checked("raises", "mprt.similarity <= 0.9", "sanity_seeds = 6"), 3, "out of memory",
    ),
    Accident(
        "the explainer raises in the check `invariance`",
        it.checked("raises", "invariance.bugs == 0", 'examples = 1\nproperties = ["determinism"]'),
        3, "it never gave maps that can be compared",
    ),
    Accident(
        "the explainer calls `os._exit(0)`", it.explained("leaves_at_once"), 3, "SystemExit",
        process=True,
    ),
]  # fmt: skip

_POLICY = [
    Accident("the policy is missing", it.unwritten, 2, "no policy"),
    Accident("the policy is empty", it.written("camaudit.toml", b""), 2, "version is missing"),
    Accident("the policy is no TOML", it.edited("[run]", "[run"), 2, "broken TOML"),
    Accident(
        "the policy is a binary file", it.written("camaudit.toml", bytes(range(256))), 2, "UTF-8"
    ),
    Accident("the policy has an unknown key", it.edited("number", "nunber"), 2, "nunber"),
    Accident("the policy has no condition", it.unconditional, 2, "no condition"),
    Accident(
        "every condition only warns",
        it.edited("[[condition]]", '[[condition]]\nseverity = "warn"'), 2,
        "nothing could fail",
    ),
    Accident("every condition is waived", it.waived("2199-12-31"), 4, "no ruling binds"),
    Accident("a waiver has expired", it.waived("2020-12-31"), 2, "expired"),
    Accident("there are two policies", it.two_policies, 2, "keep one of them"),
    Accident("the policy, in another folder, fails", it.elsewhere, 1, "1 of 1 ruling"),
]  # fmt: skip

_BASELINE = [
    Accident("the baseline is missing", it.based(None), 2, "baseline.json"),
    Accident("the baseline is cut off", it.based(it.cut), 3, "cannot be read as JSON"),
    Accident(
        "the baseline is of other images", it.based(it.changed_json(it.other_images)), 3,
        "share 0 images",
    ),
    Accident(
        "the baseline is of another layer",
        it.based(it.changed_json(it.setting("subject", layer="0.4"))), 3, "differ in layer",
    ),
    Accident(
        "`--update-baseline` without a place for it", it.words("--update-baseline"), 2, "no place"
    ),
]  # fmt: skip

_RUN = [
    Accident("`--run` is a folder without results.json", it.words("--run", "photos"), 2, "no file"),
    Accident(
        "results.json is empty", it.written("run/results.json", b"", "--run", "run"), 3,
        "cannot be read as JSON",
    ),
    Accident("results.json is cut off", it.cut_run, 3, "cannot be read as JSON"),
    Accident(
        "results.json is of an older schema", it.finished(lambda run: run.update(schema=0)), 3,
        "schema 0",
    ),
    Accident("a figure in it is NaN", it.finished(it.figure(float("nan"))), 3, "NaN"),
    Accident("a figure in it is a text", it.finished(it.figure("0.01")), 3, "'0.01'"),
    Accident("it has lost an image", it.finished(it.fewer("images")), 3, "does not list"),
    Accident("it has lost a record", it.finished(it.fewer("records")), 3, "is not whole"),
    Accident(
        "it is of another model", it.finished(it.setting("settings", model="torchvision:vgg16")),
        3, "torchvision:vgg16",
    ),
    Accident(
        "it is of other settings", it.finished(it.setting("settings", image_size=32)), 3,
        "image_size is 64",
    ),
    Accident(
        "`--escalate` of a finished run", it.words("--run", "run", "--escalate"), 2, "one of them"
    ),
]  # fmt: skip

_OUTPUTS = [
    Accident(
        "a file stands where the output folder should be", it.file_for_folder, 3,
        "file stands in its place", stands=True,
    ),
    Accident(
        "the output folder is read-only", it.nothing, 3, "Read-only", process=True,
        before=it.read_only, stands=True,
    ),
    Accident(
        "the disk is full", it.nothing, 3, "No space", process=True, before=it.full_disk,
        stands=True,
    ),
    Accident(
        "results.json may not grow large enough", it.nothing, 3, "cannot be written", process=True,
        before=it.no_room,
    ),
    Accident(
        "not even gate.json can be replaced", it.nothing, 3, "cannot be written", process=True,
        before=it.no_room_at_all,
    ),
    Accident("the JUnit file is a folder", it.junit_at("photos"), 2, "a folder"),
    Accident("an output is to replace the policy", it.junit_at("camaudit.toml"), 2, "is read"),
    Accident(
        "`GITHUB_STEP_SUMMARY` cannot be written", it.summary_is_a_folder, 2, "a folder",
        process=True, before=it.summary_in_a_folder,
    ),
    Accident(
        "stdout is closed, and the gate fails", it.explained("spread"), 1, "", process=True,
        before=it.close_stdout,
    ),
]  # fmt: skip

_PROCESS = [
    Accident("Ctrl-C", it.explained("interrupted"), 130, "Interrupted", process=True),
    Accident("the process is ended (SIGTERM)", it.explained("terminated"), -15, "", process=True),
    Accident(
        "the process is killed (SIGKILL; out of memory)", it.explained("killed"), -9, "",
        process=True,
    ),
    Accident("the process crashes (SIGSEGV)", it.explained("crashes"), -11, "", process=True),
    Accident(
        "the gate fails, under `python -O` with warnings as errors", it.explained("spread"), 1,
        "1 of 1 ruling fails", python=("-O", "-W", "error"),
    ),
]  # fmt: skip

ACCIDENTS = [
    *_MODEL, *_IMAGES, *_EXPLAINER, *_POLICY, *_BASELINE, *_RUN, *_OUTPUTS, *_PROCESS,
]  # fmt: skip
