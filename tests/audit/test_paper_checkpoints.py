"""Checkpoints in the layout of the paper's authors: two state dicts, their widths, their wall."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import jsonschema
import pytest
import torch
from torch import Tensor

from camaudit.audit import run as run_module
from camaudit.audit import subject as subject_module
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject, build_subject
from camaudit.errors import LayerError, UsageError, WallError, WeightsError
from camaudit.models.weights import file_sha256
from camaudit.schema import results_schema
from camaudit.types import Results
from camaudit.walls import PaperVGG16, WalledModel
from tests.audit.data_sets import mixed

CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512)
HIDDEN, CLASSES = 8, 10


def authors_state(*, channels: int, masked: bool, seed: int = 0) -> dict[str, Tensor]:
    """A state dict with the authors' keys, drawn as He initialisation draws."""
    generator = torch.Generator().manual_seed(seed)
    layers: dict[str, tuple[int, ...]] = {
        f"{number}": (out, width, 3, 3)
        for number, width, out in zip(CONVOLUTIONS, WIDTHS, (*WIDTHS[1:], channels), strict=True)
    }
    layers |= {
        "31.0": (HIDDEN, channels * 14 * 14), "31.3": (HIDDEN, HIDDEN), "31.6": (CLASSES, HIDDEN),
    }  # fmt: skip
    state: dict[str, Tensor] = {}
    for name, shape in layers.items():
        fan_in = torch.Size(shape[1:]).numel()
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.01
    if masked:  # the lower 9 of 14 rows are dead
        state["31.0.weight"].view(HIDDEN, channels, 14, 14)[:, :, 5:] = 0
    return state


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' two files."""
    home = tmp_path_factory.mktemp("checkpoints")
    for name, masked in (("masked", True), ("baseline", False)):
        state = authors_state(channels=256, masked=masked, seed=int(masked))
        torch.save(state, home / f"params_vgg16_{name}.pt")
    return home


def settings(files: Path, *, twin: bool = True, **options: object) -> Settings:
    chosen = {
        "wall": "vgg16", "weights": files / "params_vgg16_masked.pt",
        "unmasked_weights": files / "params_vgg16_baseline.pt" if twin else None, **options,
    }  # fmt: skip
    return Settings(**chosen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def audited(files: Path) -> Results:
    folder = mixed(files / "mix", count=2, side=224, dead_rows=54)
    outcome = run_audit(
        settings(files, data=(folder,), methods=("gradcam", "hirescam"), batch_size=2, exact=True)
    )
    assert not outcome.failed
    return outcome.results


def test_both_files_are_named_and_the_zone_is_the_papers(audited: Results, files: Path) -> None:
    subject, zone = audited.provenance.subject, audited.provenance.zone
    masked, baseline = files / "params_vgg16_masked.pt", files / "params_vgg16_baseline.pt"
    assert (subject["weights"], subject["weights_sha256"]) == (masked.name, file_sha256(masked))
    assert subject["unmasked"] == {
        "weights": baseline.name, "weights_sha256": file_sha256(baseline),
    }  # fmt: skip
    assert (subject["layer"], subject["layer_shape"]) == ("29", [256, 14, 14])
    assert zone["verified"]
    assert zone["pixel_dead_rows"] == zone["scored_rows"] == list(range(170, 224))
    assert audited.warnings == []


def test_the_figures_of_the_data_set(audited: Results) -> None:
    (one,) = audited.data
    assert (one.kind, one.images) == ("stack-mix", 2)
    summary = {entry.method: entry for entry in one.summary}
    for entry in summary.values():
        own = [record for record in audited.records if record.method == entry.method]
        twins = [record.unmasked for record in own]
        columns = (
            (entry.mu_l1, [record.mu_l1 for record in own]),
            (entry.mu_l2, [record.mu_l2 for record in own]),
            (entry.unmasked, [twin.mu_l1 for twin in twins if twin is not None]),
            (entry.unmasked_l2, [twin.mu_l2 for twin in twins if twin is not None]),
        )
        for interval, values in columns:
            found = [value for value in values if value is not None]
            assert interval is not None
            assert interval.n == len(found) == 2
            assert interval.mean == pytest.approx(fmean(found), abs=1e-15)
            assert interval.std == pytest.approx(stdev(found), rel=1e-9, abs=1e-15)
        assert entry.uniform == pytest.approx(54 / 224)
        assert entry.unmasked is not None
        assert (entry.unmasked.mean or 0) > 0
    assert summary["hirescam"].mu_l1.mean == summary["hirescam"].mu_l2.mean == 0
    assert (summary["gradcam"].mu_l1.mean or 0) > 0


def test_the_results_fit_the_schema(audited: Results) -> None:
    plain = json.loads(json.dumps(audited.to_dict(), allow_nan=False))
    jsonschema.validate(plain, results_schema(), cls=jsonschema.Draft202012Validator)
    assert plain["data"][0]["summary"][0]["unmasked_l2"]["std"] is not None


class Built(Exception):  # noqa: N818 - no error: what was built is all that the test needs
    """Raised in place of the wall, whose zone takes seconds."""


@pytest.mark.parametrize("twin", [False, True])
def test_the_other_width_is_loaded(
    twin: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [authors_state(channels=512, masked=True)]
    torch.save({"state_dict": states[0]}, tmp_path / "wide.pth")
    if twin:
        states.append(authors_state(channels=512, masked=False))
        torch.save(states[1], tmp_path / "baseline.pt")

    def wall(masked: PaperVGG16, example: Tensor, *, unmasked: PaperVGG16 | None) -> WalledModel:
        assert example.shape == (1, 3, 224, 224)
        assert (unmasked is not None) is twin
        networks = [network for network in (masked, unmasked) if network is not None]
        for network, state in zip(networks, states, strict=True):
            assert not network.training
            assert network.masked is (network is masked)
            found = network.state_dict()
            assert list(found) == list(state)
            assert all(torch.equal(found[name], state[name]) for name in state)
        raise Built

    monkeypatch.setattr(subject_module, "paper_wall", wall)
    with pytest.raises(Built):
        build_subject(
            Settings(
                wall="vgg16", weights=tmp_path / "wide.pth",
                unmasked_weights=tmp_path / "baseline.pt" if twin else None,
            )
        )  # fmt: skip


def spoilt(files: Path, **changes: Tensor | None) -> Path:
    """The masked file with changed keys (None takes one out)."""
    state = torch.load(files / "params_vgg16_masked.pt", weights_only=True)
    state |= {name.replace("_", "."): value for name, value in changes.items()}
    path = files / "spoilt.pt"
    torch.save({name: value for name, value in state.items() if value is not None}, path)
    return path


BAD: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "foreign key": ({"features_0_weight": torch.zeros(2)}, "'features.0.weight': expected no such"),
    "no key": ({"26_bias": None}, r"'26.bias': expected \(512,\), got nothing"),
    "no width": ({"31_6_weight": None}, "'31.6.bias'|'31.6.weight'"),
    "other shape": ({"24_bias": torch.zeros(3)}, r"expected \(512,\), got \(3,\)"),
    "a width that is a number": ({"31_6_weight": torch.tensor(1.0)}, r"'31.6.bias'|'31.6.weight'"),
    "a width of 0": ({"31_6_weight": torch.zeros(0, HIDDEN)}, r"'31.6.bias'|'31.6.weight'"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_files_of_another_layout_are_refused_by_name(
    changes: dict[str, Tensor | None], message: str, files: Path
) -> None:
    path = spoilt(files, **changes)
    with pytest.raises(WeightsError, match=f"spoilt.pt: the state dict does not fit.*({message})"):
        build_subject(settings(files, weights=path, twin=False))


def test_weights_that_read_dead_rows_are_no_masked_network(files: Path) -> None:
    baseline = files / "params_vgg16_baseline.pt"
    with pytest.raises(WeightsError, match=r"_baseline.pt: \d+ weights of dead rows are not 0"):
        build_subject(settings(files, weights=baseline, twin=False))
    with pytest.raises(WeightsError, match=r"_masked.pt: \d+ weights of dead rows are not 0"):
        build_subject(settings(files, twin=False, live_rows=4))


def test_the_twin_is_checked_as_well(files: Path) -> None:
    path = spoilt(files, **{"26_bias": None})
    with pytest.raises(WeightsError, match=r"spoilt.pt: the state dict does not fit"):
        build_subject(replace(settings(files), unmasked_weights=path))
    with pytest.raises(WeightsError, match="no weights file"):
        build_subject(replace(settings(files), unmasked_weights=files / "nowhere.pt"))


def test_unmasked_weights_need_masked_ones_and_the_papers_wall(files: Path) -> None:
    with pytest.raises(UsageError, match="are those of the twin: give --weights too"):
        build_subject(replace(settings(files), weights=None))
    with pytest.raises(UsageError, match=r"belong to the paper's VGG16 \(--wall vgg16\)"):
        settings(files, wall="split")


def test_what_the_papers_network_cannot_be_given(files: Path) -> None:
    with pytest.raises(LayerError, match="leave --layer out"):
        build_subject(settings(files, layer="28"))
    with pytest.raises(WallError, match="leave --image-size out"):
        build_subject(settings(files, image_size=64))


def test_data_sets_do_not_choose_the_size_of_its_images(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data set of another size is refused as such, not as an option that nobody gave."""
    seen: list[Settings] = []

    def build(given: Settings, _live: object) -> Subject:
        seen.append(given)
        raise Built

    monkeypatch.setattr(run_module, "build_subject", build)
    folder = mixed(tmp_path / "small", count=1)
    for wall in (settings(files, data=(folder,)), Settings(data=(folder,))):
        with pytest.raises(Built):
            run_audit(wall)
    assert [given.image_size for given in seen] == [None, 64]
