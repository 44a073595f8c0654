"""The back end of a local pipeline, with a library that only looks like diffusers."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from camaudit.data.generation.diffusers import DiffusersOptions, DiffusersPipeline
from camaudit.data.generation.request import RefusedError, Request
from camaudit.data.images import decode
from camaudit.errors import DeviceError, GenerationError, MissingExtraError, UsageError

REQUEST = Request(
    id="x", label=17, label_name="jay", prompt="A photo of jay", seed=5, size=(36, 36)
)


class Pipe:
    def __init__(self, calls):
        self.calls = calls
        self.flagged = None
        self.images = True

    def to(self, device):
        if device != "cpu":
            raise RuntimeError("no such device here")
        return self

    def set_progress_bar_config(self, *, disable):
        assert disable

    def __call__(self, *, prompt, generator, height=48, width=40, **others):
        assert not torch.is_grad_enabled()
        self.calls.append({"prompt": prompt, **others})
        noise = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
        images = [Image.fromarray(noise.numpy())] if self.images else []
        return SimpleNamespace(images=images, nsfw_content_detected=self.flagged)


@pytest.fixture
def library(monkeypatch):
    fake = ModuleType("diffusers")
    fake.calls, fake.loaded = [], []
    fake.__version__ = "0.0"
    fake.pipe = Pipe(fake.calls)

    class AutoPipelineForText2Image:
        @staticmethod
        def from_pretrained(path, **options):
            fake.loaded.append((path, options))
            return fake.pipe

    fake.AutoPipelineForText2Image = AutoPipelineForText2Image
    monkeypatch.setitem(sys.modules, "diffusers", fake)
    monkeypatch.setitem(sys.modules, "transformers", ModuleType("transformers"))
    return fake


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "secret-user" / "tiny"
    (root / "unet").mkdir(parents=True)
    (root / "model_index.json").write_text(json.dumps({"_class_name": "X"}))
    (root / "unet" / "model.safetensors").write_bytes(b"123")
    return root


def backend(folder, **changes):
    return DiffusersPipeline(DiffusersOptions(pipeline=folder, **changes))


def test_seeded_offline_and_from_safetensors_alone(library, folder):
    maker = backend(folder, steps=3, guidance=2.5, size=(56, 64))
    assert library.loaded == []  # not before it is needed
    made = maker.generate(REQUEST)
    ((path, options),) = library.loaded
    assert path == str(folder)
    assert options["local_files_only"] is True
    assert options["use_safetensors"] is True
    assert options["torch_dtype"] is torch.float32
    assert library.calls == [
        {"prompt": "A photo of jay", "num_inference_steps": 3, "guidance_scale": 2.5}
    ]
    expected = torch.randint(
        0, 256, (56, 64, 3), generator=torch.Generator().manual_seed(5), dtype=torch.uint8
    )
    np.testing.assert_array_equal(decode(made.picture).pixels, expected.numpy())
    state = torch.get_rng_state()
    assert maker.generate(REQUEST).picture == made.picture
    assert torch.equal(torch.get_rng_state(), state)
    assert len(library.loaded) == 1


def test_what_is_not_given_is_left_to_the_pipeline(library, folder):
    made = backend(folder).generate(REQUEST)
    assert library.calls == [{"prompt": "A photo of jay"}]
    assert decode(made.picture).pixels.shape == (48, 40, 3)


@pytest.mark.usefixtures("library")
def test_settings_name_the_pipeline_and_no_path(folder):
    settings = backend(folder, steps=3).settings
    assert (settings["model"], settings["steps"]) == ("tiny", 3)
    assert "secret-user" not in json.dumps(settings)
    (folder / "unet" / "model.safetensors").write_bytes(b"1234")
    assert backend(folder).settings["fingerprint"] != settings["fingerprint"]
    assert backend(folder, device="cuda:1").settings["device"] == "cuda"


def test_failures_are_told_apart(library, folder):
    library.pipe.flagged = [True]
    with pytest.raises(RefusedError, match="safety checker"):
        backend(folder).generate(REQUEST)
    library.pipe.flagged, library.pipe.images = None, False
    with pytest.raises(UsageError, match="gave no picture"):
        backend(folder).generate(REQUEST)
    with pytest.raises(DeviceError, match="cannot be moved to cuda: no such device here"):
        backend(folder, device="cuda").generate(REQUEST)

    def broken(**_):
        raise RuntimeError("out of memory")

    library.pipe = SimpleNamespace(to=lambda _: broken)
    with pytest.raises(GenerationError, match="tiny failed: RuntimeError: out of memory"):
        backend(folder).generate(REQUEST)
    library.AutoPipelineForText2Image.from_pretrained = broken
    with pytest.raises(UsageError, match="cannot be loaded"):
        DiffusersPipeline(DiffusersOptions(pipeline=folder)).generate(REQUEST)


def test_a_missing_library_names_the_extra(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r'pip install "camaudit\[gen\]"'):
        backend(folder)


def test_bad_options(tmp_path, folder):
    with pytest.raises(UsageError, match=r"is no pipeline: expected a folder with model_index"):
        DiffusersOptions(pipeline=tmp_path)
    with pytest.raises(UsageError, match="steps must be 1 or more"):
        DiffusersOptions(pipeline=folder, steps=0)
    with pytest.raises(UsageError, match="multiples of 8, got 64x60"):
        DiffusersOptions(pipeline=folder, size=(60, 64))
