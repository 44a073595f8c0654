"""The training loop: epochs of steps, each network on the same batches, stopped and resumed.

Files of a run: `checkpoint.pt`, `history.json`, `curves.html` and, at the end, a folder for each
network (:mod:`camaudit.training.trained`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

import camaudit
from camaudit.errors import OutputError, UsageError
from camaudit.files import write_json, write_text
from camaudit.report.html import render_curves
from camaudit.report.writing import check_writable
from camaudit.training import checkpoint, randomness
from camaudit.training.batches import Batches
from camaudit.training.checkpoint import Checkpoint
from camaudit.training.distributed import World, joined
from camaudit.training.learner import Learner, Scores
from camaudit.training.networks import build, twins
from camaudit.training.recipe import learning_rate
from camaudit.training.settings import Job, TrainSettings, prepare
from camaudit.training.stopping import StopRequest, stop_requests
from camaudit.training.trained import save_trained

__all__ = ["CURVES_NAME", "HISTORY_NAME", "Progress", "TrainOutcome", "train"]

HISTORY_NAME = "history.json"
CURVES_NAME = "curves.html"
_FORMAT = "camaudit-training-1"
_VALIDATION_BATCH = 250


class Progress(Protocol):
    """Who is told how far the run is (see :class:`camaudit.console.ConsoleProgress`)."""

    def start(self, work: int) -> None: ...
    def stage(self, text: str) -> None: ...
    def advance(self, work: int) -> None: ...


@dataclass(frozen=True)
class TrainOutcome:
    """The figures of every epoch by network, the folders of the trained networks, and notes."""

    history: dict[str, list[dict[str, Any]]]
    folders: dict[str, Path]
    notes: tuple[str, ...]


class _Silent:
    def start(self, work: int) -> None: ...
    def stage(self, text: str) -> None: ...
    def advance(self, work: int) -> None: ...


def train(settings: TrainSettings, *, progress: Progress | None = None) -> TrainOutcome:
    """Train what `settings` describe and write the networks into folders below `settings.out`.

    With `resume` a run that was stopped, at whatever step, goes on and ends with the weights that
    it would have ended with anyway (bit-equal on a CPU with the same number of threads). SIGINT
    and SIGTERM end the step in progress, save a checkpoint and raise KeyboardInterrupt.

    Raises :class:`UsageError` and its children for what cannot be trained, :class:`OutputError`
    for a folder that holds another run or cannot be written, :class:`TrainingError` where the
    loss is not finite, :class:`ZoneError` where the trained wall does not hold.
    """
    with joined(settings.device) as world:
        if world.first:
            check_writable(settings.out)
        world.wait()
        stored = _stored(settings)
        job = prepare(settings)
        told = (progress if world.first else None) or _Silent()
        devices = [world.device] if world.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), stop_requests() as stop:
            return _Run(job, world, told, stop, stored).carried_out()


def _stored(settings: TrainSettings) -> Checkpoint | None:
    if settings.resume:
        return checkpoint.load(settings.out)
    if (settings.out / checkpoint.NAME).exists():
        raise OutputError(
            f"{settings.out} holds a training run already: go on with --resume, or choose another "
            "output folder"
        )
    return None


@dataclass(eq=False)
class _Run:
    job: Job
    world: World
    progress: Progress
    stop: StopRequest
    stored: Checkpoint | None
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.job.recipe.batch_size % self.world.size:
            raise UsageError(
                f"a batch of {self.job.recipe.batch_size} images cannot be shared evenly by "
                f"{self.world.size} processes: change --batch-size"
            )
        self.learners = self._learners()
        self.history = {name: [] for name in self.learners}
        self.train, self.validation = (
            Batches.of(
                images, labels, size=self.job.size, normalisation=self.job.normalisation,
                recipe=self.job.recipe, seed=self.job.settings.seed, device=self.world.device,
                workers=self.job.settings.workers,
            )
            for images, labels in (
                (self.job.train, self.job.labels),
                (self.job.validation, self.job.validation.labels),
            )
        )  # fmt: skip
        if self.stored is not None:
            self._restore(self.stored)
        self.began = time.monotonic() - self.seconds

    def carried_out(self) -> TrainOutcome:
        """All epochs that are left, then the files of the trained networks."""
        recipe = self.job.recipe
        self.progress.stage("training")
        self.progress.start(recipe.epochs * self.job.steps)
        self.progress.advance(self.epoch * self.job.steps + self.step)
        while self.epoch < recipe.epochs:
            self._one_epoch()
        folders = self._finished() if self.world.first else {}
        self.world.wait()
        return TrainOutcome(self.history, folders, self.job.notes)

    def _one_epoch(self) -> None:
        every = self.job.settings.checkpoint_every
        for images, labels in self.train.training(self.epoch, self._parts()):
            self._one_step(images, labels)
            if self._asked_to_stop():
                self._save()
                raise KeyboardInterrupt
            if every and self.step % every == 0 and self.step < self.job.steps:
                self._save()
        self._close_epoch()

    def _one_step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        step = self.epoch * self.job.steps + self.step
        lr = learning_rate(self.job.recipe, step, self.job.steps)
        seed = randomness.step_seed(self.job.settings.seed, step, self.world.rank)
        for learner in self.learners.values():
            learner.step(images, labels, lr=lr, seed=seed)
            if self.world.device.type == "cpu":  # elsewhere it would wait for the device
                learner.require_finite(self._place())
        self.step += 1
        self.progress.advance(1)

    def _close_epoch(self) -> None:
        step = (self.epoch + 1) * self.job.steps - 1
        lr = learning_rate(self.job.recipe, step, self.job.steps)
        for name, learner in self.learners.items():
            learner.require_finite(self._place())
            self.world.sum(learner.sums.values)
            scores = learner.validate(self._validation_batches())
            classes = learner.spec.classes
            self.history[name].append({
                "epoch": self.epoch + 1, "lr": lr, **learner.sums.means(classes, "train"),
                **scores.means(classes, "val"), "leaks": learner.leaks,
                "seconds": round(time.monotonic() - self.began, 3),
            })  # fmt: skip
            learner.sums = Scores.zero(self.world.device)
        self.epoch, self.step = self.epoch + 1, 0
        self._save()
        self.progress.stage(self._told())

    def _parts(self) -> list[randomness.Indices]:
        """What is left of the epoch's batches, this process's share of each."""
        size = self.job.recipe.batch_size
        order = randomness.order(self.job.settings.seed, self.epoch, len(self.job.train))
        batches = [order[start : start + size] for start in range(0, self.job.steps * size, size)]
        return [batch[self.world.rank :: self.world.size] for batch in batches[self.step :]]

    def _validation_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        mine = randomness.order(0, 0, len(self.job.validation))
        mine = mine[self.world.rank :: self.world.size]
        parts = [mine[at : at + _VALIDATION_BATCH] for at in range(0, len(mine), _VALIDATION_BATCH)]
        return self.validation.plain(parts)

    def _learners(self) -> dict[str, Learner]:
        specs, seed = self.job.specs, self.job.settings.seed
        if len(specs) == 2:
            networks = dict(zip(specs, twins(specs["masked"], seed=seed), strict=True))
        else:
            networks = {name: build(spec, seed=seed) for name, spec in specs.items()}
        return {
            name: Learner.of(spec, networks[name], self.job.recipe, self.world)
            for name, spec in specs.items()
        }

    def _restore(self, stored: Checkpoint) -> None:
        checkpoint.require_same(stored.identity, self.job.identity)
        self.epoch, self.step, self.seconds = stored.epoch, stored.step, stored.seconds
        self.history = stored.history
        for name, learner in self.learners.items():
            # running sums are added up over all processes, so one of them carries the past
            sums = stored.sums[name] if self.world.first else [0.0] * len(stored.sums[name])
            learner.restore(stored.networks[name], sums)

    def _asked_to_stop(self) -> bool:
        return self.world.any(self.stop.asked)

    def _place(self) -> str:
        return f"in epoch {self.epoch + 1}, step {self.step + 1}"

    def _save(self) -> None:
        """A checkpoint, and the figures so far; never of weights that are not finite."""
        sums = {}
        for name, learner in self.learners.items():
            learner.require_finite(self._place())
            sums[name] = self.world.sum(learner.sums.values.clone()).tolist()
        if self.world.first:
            states = {name: learner.state() for name, learner in self.learners.items()}
            seconds = time.monotonic() - self.began
            checkpoint.save(
                self.job.settings.out,
                Checkpoint(
                    self.job.identity, self.epoch, self.step, seconds, self.history, states, sums
                ),
            )
            if self.step == 0:
                self._write_history()
            else:
                self.progress.stage(
                    f"saved in epoch {self.epoch + 1} after step {self.step} of {self.job.steps}"
                )
        self.world.wait()

    def _write_history(self) -> None:
        out = self.job.settings.out
        content = {
            "format": _FORMAT,
            "camaudit": camaudit.__version__,
            "settings": self.job.identity,
            "notes": list(self.job.notes),
            "networks": self.history,
        }
        write_json(out / HISTORY_NAME, content)
        write_text(out / CURVES_NAME, render_curves(content))

    def _told(self) -> str:
        figures = ", ".join(
            f"{name} {100 * epochs[-1]['val_top1']:.1f} %" for name, epochs in self.history.items()
        )
        return f"epoch {self.epoch} of {self.job.recipe.epochs}: validation top-1 {figures}"

    def _finished(self) -> dict[str, Path]:
        """The trained networks in folders of their own, their walls verified."""
        self.progress.stage("verifying the wall and writing the networks")
        self._write_history()
        images = next(self.validation.plain([randomness.order(0, 0, len(self.job.validation))[:4]]))
        folders = {}
        for name, learner in self.learners.items():
            folders[name] = self.job.settings.out / name
            save_trained(
                folders[name], learner.network.eval(), learner.spec, images[0],
                job=self.job, name=name, epochs=self.history[name],
            )  # fmt: skip
        return folders
