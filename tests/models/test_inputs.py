"""What images a model is given: its channels, its size, and what its own configuration says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from camaudit.audit.batches import batch_tensor
from camaudit.audit.live import Live, tensor_images
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.audit.subject import load_subject
from camaudit.data.preprocess import Normalisation, parse_preprocess
from camaudit.errors import ModelError, UsageError
from tests.networks import settle

CHECKS = ("dead-zone", "confidence", "adcc", "insertion-deletion", "sparsity", "road", "infidelity",
          "sensitivity", "mprt", "random-logit", "invariance")  # fmt: skip


def network(channels: int) -> nn.Module:
    return settle(
        nn.Sequential(
            nn.Conv2d(channels, 6, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(6, 3),
        )
    )  # fmt: skip


def test_grey_is_pillows() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 160, 120, 3), dtype=np.uint8)
    found = Normalisation("mine", (0.25,), (0.5,)).to_tensor(pixels, dtype=torch.float64)
    for image, given in zip(found, pixels, strict=True):
        wanted = (np.asarray(Image.fromarray(given).convert("L")) / 255 - 0.25) / 0.5
        np.testing.assert_array_equal(image[0].numpy(), wanted)
    assert found.shape == (2, 1, 160, 120)


def test_grey_photographs_stay_what_they_are() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = Normalisation("mine", (0.0,), (1.0,)).to_tensor(ramp[None, ..., None].repeat(3, axis=3))
    assert (found[0, 0] * 255).round().to(torch.uint8).tolist() == ramp.tolist()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_standardisations_have_a_number_a_channel(channels: int) -> None:
    assert parse_preprocess("0.5/0.2", channels=channels).mean == (0.5,) * channels
    listed = ",".join(["0.5"] * channels)
    assert parse_preprocess(f"{listed}/0.2", channels=channels).std == (0.2,) * channels
    named = parse_preprocess("imagenet", channels=channels)
    assert named.mean == pytest.approx([(0.485 + 0.456 + 0.406) / 3] * channels)
    assert named.name == "imagenet, averaged"
    with pytest.raises(UsageError, match=r"the mean has 4 numbers, not 1"):
        parse_preprocess("0,0,0,0/1", channels=channels)


def test_other_numbers_of_channels_need_tensors() -> None:
    with pytest.raises(UsageError, match=r"photographs have 3 channels.*reads 2"):
        Normalisation("two", (0.0,) * 2, (1.0,) * 2).to_tensor(np.zeros((1, 4, 4, 3), np.uint8))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_every_check_takes_images_of_any_channels(channels: int) -> None:
    settings = Settings(
        checks=CHECKS, methods=("gradcam", "scorecam", "sobel"), layer="1", wall="split",
        pixels_per_step=64, sanity_seeds=1, examples=1, perturbation_images=2,
        properties=("determinism", "batch-order"), mask_baseline="black",
    )  # fmt: skip
    images = torch.rand(2, channels, 16, 16, generator=torch.Generator().manual_seed(1))
    live = Live(model=network(channels), images=images)
    outcome = run_audit(settings, live=live)
    assert not outcome.failed
    assert outcome.results.provenance.subject["input"]["channels"] == channels
    assert len(outcome.results.provenance.subject["preprocess"]["mean"]) == channels


def test_tensors_of_other_channels_are_shown_in_grey() -> None:
    values = torch.zeros(1, 2, 4, 4)
    values[0, :, 0, 0] = torch.tensor([1.0, 3.0])
    (shown,) = tensor_images(values)
    assert shown.pixels.shape == (4, 4, 3)
    assert shown.pixels[0, 0].tolist() == [255, 255, 255]
    assert int(shown.pixels.sum()) == 3 * 255


def test_photographs_are_grey_for_a_grey_model(factory: Path, photographs: Path) -> None:
    settings = Settings(
        model=f"{factory}:grey", images=photographs, num_images=3, image_size=64,
        methods=("gradcam", "sobel"), wall="split",
    )  # fmt: skip
    outcome = run_audit(settings)
    assert not outcome.failed
    subject = outcome.results.provenance.subject
    assert subject["input"]["channels"] == 1
    assert subject["preprocess"] == {
        "name": "imagenet, averaged", "mean": pytest.approx([0.449]), "std": pytest.approx([0.226]),
    }  # fmt: skip
    assert subject["layer_chosen"] == "automatically"


class Both(nn.Module):
    """Reads three channels, though its first convolution has one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(1)

    def forward(self, x: Tensor) -> Tensor:
        red, green, blue = x.unbind(dim=1)
        logits: Tensor = self.net((red + green + blue)[:, None])
        return logits


def test_the_first_convolution_is_a_guess_that_is_checked() -> None:
    live = Live(model=Both().eval())
    subject = load_subject(Settings(checks=("sparsity",), image_size=16), live)
    assert subject.description["input"]["channels"] == 3
    with pytest.raises(ModelError, match="fails on a 1×3×16×16 image"):
        load_subject(
            Settings(checks=("sparsity",), image_size=16),
            Live(model=nn.Sequential(nn.Flatten(), nn.Linear(7, 2)).eval()),
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved architecture with a processor of its own."""
    from camaudit.models.loading import load_model

    spec = "hf:ResNetConfig(num_labels=3, embedding_size=4, hidden_sizes=4+6, depths=1+1)"
    load_model(spec).model.save_pretrained(tmp_path)  # type: ignore[operator]
    values = {
        "size": {"shortest_edge": 64}, "do_center_crop": True, "crop_size": 48, "resample": 3,
        "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5],
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    return tmp_path


def test_a_configuration_is_used_said_and_overruled(folder: Path, photographs: Path) -> None:
    plain = photographs.parent / "plain"
    plain.mkdir()
    noise = np.random.default_rng(3).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(plain / "one.png")
    settings = Settings(model=f"hf:{folder}", images=plain, methods=("gradcam",), wall="split")
    results = run_audit(settings).results
    subject = results.provenance.subject
    assert subject["input"]["size"] == 48
    assert subject["input"]["crop"] == 0.75
    assert subject["input"]["configuration"]["interpolation"] == "bicubic"
    assert subject["preprocess"]["mean"] == [0.1, 0.2, 0.3]
    assert subject["reading"]["output"] == "logits"
    assert subject["weights_sha256"] is not None
    (note,) = [text for text in results.warnings if text.startswith("images are prepared")]
    assert "48×48 pixels (--image-size)" in note
    assert "0.1,0.2,0.3/0.5 (--preprocess)" in note
    assert "it resizes by bicubic, camaudit bilinearly" in note
    assert "standardised as for ImageNet" not in " ".join(results.warnings)
    (source,) = results.provenance.images[0]["sources"]
    assert source["crop"][2] - source["crop"][0] == pytest.approx(0.75)  # of the whole side

    other = run_audit(replace(settings, image_size=64, preprocess="lite")).results
    subject = other.provenance.subject
    assert (subject["input"]["size"], subject["input"]["crop"]) == (64, 1.0)
    assert subject["preprocess"]["name"] == "lite"
    assert not [text for text in other.warnings if text.startswith("images are prepared")]


def test_a_batch_has_the_models_channels(factory: Path) -> None:
    subject = load_subject(
        Settings(model=f"{factory}:grey", checks=("sparsity",), image_size=32, preprocess="0/1")
    )
    pixels = np.full((32, 32, 3), 51, dtype=np.uint8)
    image = replace(tensor_images(torch.zeros(1, 1, 32, 32))[0], content=pixels)
    plain = type(image).__mro__[1](
        image.id, pixels, None, None, (), "single"
    )  # a photograph, not a tensor
    batch = batch_tensor(subject, [plain])
    assert batch.shape == (1, 1, 32, 32)
    assert batch.unique().tolist() == pytest.approx([0.2])
