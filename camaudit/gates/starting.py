"""A first policy, test and CI job for the repository that one stands in; nothing is overwritten."""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from camaudit.errors import UsageError
from camaudit.files import made_folder, output_error
from camaudit.gates.source import POLICY_FILE, find_policy
from camaudit.gates.surroundings import Surroundings, look_around

__all__ = ["Started", "start"]

TEST = Path("tests", "test_explanations.py")
WORKFLOW = Path(".github", "workflows", "camaudit.yml")
_MOST_IMAGES = 50
_WAIVED_DAYS = 90


@dataclass(frozen=True)
class Started:
    """What :func:`start` did: files that it wrote, those that it found and kept.

    `job` is the CI job where the repository has no place for it; `notes` say what to look at.
    """

    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    job: str | None
    notes: tuple[str, ...]


def start(folder: Path, *, today: datetime.date | None = None) -> Started:
    """Write a commented policy, a test and a CI job into `folder`, as far as they are not there.

    Raises :class:`UsageError` for a broken pyproject.toml and :class:`camaudit.errors.OutputError`
    where a file cannot be written.
    """
    found = look_around(folder)
    policy = _present_policy(folder)
    texts = {
        TEST: _test(found, policy or Path(POLICY_FILE)),
        Path(POLICY_FILE): _policy(found, today or datetime.date.today()),
        WORKFLOW: _job(found),
    }
    job = None if found.github else texts.pop(WORKFLOW)
    kept = [policy] if policy else []
    if policy:
        del texts[Path(POLICY_FILE)]
    written: list[Path] = []
    for name, text in texts.items():
        (written if _written(folder / name, text) else kept).append(name)
    return Started(tuple(written), tuple(kept), job, _notes(found, written))


def _present_policy(folder: Path) -> Path | None:
    """The file that holds a policy already."""
    if os.path.lexists(folder / POLICY_FILE):
        return Path(POLICY_FILE)
    try:
        return find_policy(folder).relative_to(folder)
    except UsageError:
        return None


def _written(path: Path, text: str) -> bool:
    """Write a file that is not there; whether it was not."""
    made_folder(path.parent)
    try:
        with path.open("x", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:
                path.unlink()  # half a policy is worse than none, and would be kept next time
                raise
    except FileExistsError:
        return False
    except OSError as error:
        raise output_error(path, error) from error
    return True


def _policy(found: Surroundings, today: datetime.date) -> str:
    if found.weights:
        weights = f'weights = {json.dumps(found.weights)}\nweights_sha256 = "{found.sha256}"'
    else:
        weights = '# weights = "weights.safetensors"\n# weights_sha256 = "…"           # pins them'
    if found.images:
        number = min(found.pictures, _MOST_IMAGES)
        images = f"folder = {json.dumps(found.images)}\nnumber = {number}"
    else:
        images = (
            '# folder = "photos"             # default: photographs that come with scikit-image\n'
            "# number = 50"
        )
    return _filled(
        "camaudit.toml",
        model=json.dumps(f"{_module(found)}:{found.factory or 'build'}"),
        model_note=_model_note(found),
        weights=weights,
        images=images,
        expires=str(today + datetime.timedelta(days=_WAIVED_DAYS)),
    )


def _test(found: Surroundings, policy: Path) -> str:
    return _filled(
        "test_explanations.py",
        module=_module(found),
        factory=found.factory or "build",
        model_note=_model_note(found),
        images=f"ROOT / {json.dumps(found.images)}" if found.images else "None",
        policy=policy.as_posix(),
    )


def _job(found: Surroundings) -> str:
    if not found.installable:
        return _filled("camaudit.yml", install="-r requirements.txt")
    package = f'-e ".[{found.extra}]"' if found.extra else "-e . pytest"
    return _filled("camaudit.yml", install=package)


def _module(found: Surroundings) -> str:
    return found.module or f"{found.package or 'mypackage'}.models"


def _model_note(found: Surroundings) -> str:
    return "found by its name, not tried" if found.factory else "write your own here"


def _notes(found: Surroundings, written: list[Path]) -> tuple[str, ...]:
    if not written:
        return ()
    notes = []
    if found.factory:
        notes.append(
            f"{found.module}:{found.factory} sounds like your model and was not tried: it must "
            "take no arguments and return an nn.Module in eval mode"
        )
    else:
        notes.append(
            f"no function was found that sounds like a model: replace {_module(found)}:build by "
            "package.module:factory, which takes no arguments and returns an nn.Module in eval mode"
        )
    if not found.images:
        notes.append("no folder of at least six pictures was found: name yours under [images]")
    return tuple(notes)


def _filled(name: str, **values: str) -> str:
    text = files("camaudit.gates").joinpath(f"templates/{name}.in").read_text(encoding="utf-8")
    return Template(text).substitute(values)
