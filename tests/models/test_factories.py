"""Models from the user's own code: unwrapped, exported, Lightning modules, TorchScript."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camaudit.audit.live import Live
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.capture import capture
from camaudit.cut import cut_at
from camaudit.errors import ModelError
from camaudit.methods import compute
from camaudit.models.exported import from_exported
from camaudit.models.factories import from_factory, taken
from tests.networks import chain, images, settle


def exported(model: nn.Module, *, sizes: bool = True) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=64)
    shape: dict[int, Any] = {0: batch}
    if sizes:
        shape |= {2: torch.export.Dim("height", min=8), 3: torch.export.Dim("width", min=8)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(model, (images(2),), dynamic_shapes=(shape,))


def blocks() -> nn.Module:
    """A chain in two named parts."""
    layers = list(chain().children())
    parts = {"features": nn.Sequential(*layers[:7]), "head": nn.Sequential(*layers[7:])}
    model = nn.Sequential()
    for name, part in parts.items():
        model.add_module(name, part)
    return settle(model)


class Trainer(nn.Module):
    """What a LightningModule is to others: a module whose `trainer` is not there yet."""

    def __init__(self) -> None:
        super().__init__()
        self.net = blocks()
        self.loss = nn.CrossEntropyLoss()

    @property
    def trainer(self) -> Any:
        raise RuntimeError("Trainer is not attached to a `Trainer`.")

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits


def test_wrappers_are_taken_off() -> None:
    model = blocks()
    for wrapped, notes in (
        (nn.DataParallel(model), ("taken out of DataParallel",)),
        (torch.compile(model), ("taken out of torch.compile",)),
        (
            nn.DataParallel(torch.compile(nn.DataParallel(model))),  # type: ignore[arg-type]
            ("taken out of DataParallel", "taken out of torch.compile",
             "taken out of DataParallel"),
        ),
    ):  # fmt: skip
        found, said = taken(wrapped, what="it is")
        assert found is model
        assert said == notes


def test_a_program_is_modules_again() -> None:
    model, x = blocks(), images(3)
    found, notes = taken(exported(model), what="it is")
    assert notes == ("a torch.export program as modules again",)
    assert not any(module.training for module in found.modules())
    ours, theirs = (cut_at(one, "features", x[:1]) for one in (found, model))
    for method in ("gradcam", "hirescam"):
        maps = [compute(method, capture(cut, x)) for cut in (ours, theirs)]
        torch.testing.assert_close(*maps)


def test_a_program_is_audited_with_a_wall() -> None:
    settings = Settings(methods=("gradcam", "hirescam"), layer="features", wall="split")
    found = [
        run_audit(settings, live=Live(model=model, images=images(2))).results
        for model in (exported(blocks()), blocks())
    ]
    ours, theirs = ([record.mu_l1 for record in one.records] for one in found)
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert found[0].provenance.subject["taken"] == ["a torch.export program as modules again"]
    assert found[1].provenance.subject["taken"] == []


def test_programs_without_layers_or_in_training_mode_are_refused() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=(2, 3)) @ self.weight.T

    with pytest.raises(ModelError, match="no modules left"):
        from_exported(exported(Bare().eval()))
    with pytest.raises(ModelError, match="exported in training mode"):
        from_exported(exported(nn.Sequential(blocks(), nn.Dropout()).train()))


def test_a_program_names_its_layers() -> None:
    found = from_exported(exported(blocks()))
    with pytest.raises(Exception, match=r"no layer 'feature'; near names: features"):
        cut_at(found, "feature", images(1))


def test_what_cannot_be_hooked_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(blocks(), images(1))
    with pytest.raises(ModelError, match="it is a TorchScript module, which allows no hooks"):
        taken(scripted, what="it is")
    with pytest.raises(ModelError, match=r"it is a list; expected a torch\.nn\.Module"):
        taken([1], what="it is")
    in_place = blocks()
    in_place.compile(backend="eager")
    with pytest.raises(ModelError, match="compiled in place"):
        taken(in_place, what="it is")


def test_a_lightning_module_is_a_module(tmp_path: Path) -> None:
    path = tmp_path / "lit.py"
    path.write_text(
        "from tests.models.test_factories import Trainer\n"
        "def build():\n    return Trainer().eval()\n"
    )
    found = from_factory(str(path), "build").model
    assert type(found).__name__ == "Trainer"
    outcome = run_audit(
        Settings(
            model=f"{path}:build", methods=("gradcam",), image_size=16, num_images=2,
            checks=("dead-zone", "mprt"), sanity_seeds=1,
        )
    )  # fmt: skip
    assert not outcome.failed
    assert outcome.results.provenance.subject["layer"] == "net.features"
    del sys.modules["camaudit_subject_lit"]
