"""Models by name: torchvision, timm and transformers, their options; nothing is fetched."""

from __future__ import annotations

import builtins
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from camaudit.errors import MissingExtraError, ModelError
from camaudit.models.loading import load_model
from camaudit.models.options import named_options

HF = "ResNetConfig(num_labels=3, num_channels=1, embedding_size=4, hidden_sizes=4+6, depths=1+1)"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach another machine is an error."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a model source tried to use the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("net", {}),
        ("net()", {}),
        ("net( a = 1 , b=true)", {"a": 1, "b": True}),
        ("net(a=1.5, b=none, c=word, d=1e+3)", {"a": 1.5, "b": None, "c": "word", "d": 1000.0}),
        ("net(a=8+16, b=x+y)", {"a": [8, 16], "b": ["x", "y"]}),
    ],
)
def test_options_are_read(text: str, options: dict[str, Any]) -> None:
    assert named_options(text, spec=text) == ("net", options)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("torchvision:resnet18(10)", "cannot read the option '10'"),
        ("torchvision:resnet18(a=1, a=2)", "each once"),
        ("torchvision:resnet18(num_classes=4", "NAME\\(option=value"),
        ("torchvision:resnet81", "near names: resnet18"),
        ("torchvision:resnet18(weights=DEFAULT)", "weights is left out.*--weights"),
        ("torchvision:resnet18(depth=3)", "cannot build.*depth"),
        ("torchvision:resnet18(in_chans=x)", "in_chans must be a whole number"),
        ("timm:resnet10x", "no model 'resnet10x'; near names: resnet10t"),
        ("timm:hf-hub:some/name", "no model 'hf-hub:some/name'"),
        ("timm:test_resnet(pretrained=true)", "nothing is downloaded"),
        ("timm:test_resnet(checkpoint_path=a.pth)", "checkpoint_path is left out"),
        ("timm:test_resnet(nonsense=1)", "timm cannot build.*nonsense"),
        ("hf:microsoft/resnet-18", "no local folder and not in the local cache.*hf download"),
        ("hf:ResnetConfig", "near names: ResNetConfig"),
        ("hf:BertConfig(num_hidden_layers=1)", "cannot build.*BertConfig"),
        ("hf:ResNetConfig(depths=word)", "cannot build"),
        ("transformers:../nowhere/at all", "cannot read the model spec"),
        ("nothing:", "expected lite0, torchvision:NAME, timm:NAME, hf:FOLDER"),
    ],
)
def test_a_wrong_spec_says_what_to_do(spec: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load_model(spec)


def test_torchvision_options() -> None:
    model = load_model("torchvision:mobilenet_v3_small(num_classes=4, in_chans=2)").model
    with torch.no_grad():
        assert model(torch.zeros(1, 2, 32, 32)).shape == (1, 4)
    again = load_model("torchvision:mobilenet_v3_small(num_classes=4, in_chans=2)").model
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
    assert not model.training


def test_timm_brings_its_configuration() -> None:
    import timm

    found = load_model("timm:test_resnet.r160_in1k(num_classes=4)")
    config = timm.get_pretrained_cfg("test_resnet.r160_in1k")
    assert found.expected is not None
    assert (1, *config.input_size) == (1, 3, found.expected.size, found.expected.size)
    assert found.expected.crop == config.crop_pct
    assert found.expected.interpolation == config.interpolation
    assert "test_resnet.r160_in1k" in found.expected.source
    mean, std = ([float(x) for x in part.split(",")] for part in str(found.preprocess).split("/"))
    for values, wanted in ((mean, config.mean), (std, config.std)):
        assert values * (3 // len(values)) == pytest.approx(wanted)
    grey = load_model("timm:test_resnet.r160_in1k(num_classes=4, in_chans=1)")
    assert grey.expected is not None
    assert grey.expected.channels == 1
    assert float(str(grey.preprocess).split("/")[0]) == pytest.approx(sum(config.mean) / 3)
    with torch.no_grad():
        assert grey.model(torch.zeros(1, 1, 64, 64)).shape == (1, 4)


def test_timm_reads_local_weights(tmp_path: Path) -> None:
    model = load_model("timm:test_resnet(num_classes=2)", seed=1).model
    torch.save({f"module.{k}": v for k, v in model.state_dict().items()}, tmp_path / "w.pth")
    compiled = {f"_orig_mod.module.{k}": v for k, v in model.state_dict().items()}
    torch.save({"state_dict": compiled}, tmp_path / "c.pth")
    for name in ("w.pth", "c.pth"):
        found = load_model("timm:test_resnet(num_classes=2)", weights=tmp_path / name)
        assert found.weights == name
        assert all(map(torch.equal, model.state_dict().values(), found.model.state_dict().values()))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny image classifier as save_pretrained leaves it."""
    folder = tmp_path_factory.mktemp("classifier")
    model: Any = load_model(f"hf:{HF}", seed=3).model
    model.save_pretrained(folder)
    return folder


def test_transformers_folders_are_read_with_their_weights(saved: Path) -> None:
    found = load_model(f"hf:{saved}")
    config = load_model(f"transformers:{HF}", seed=3)
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(found.model(x).logits, config.model(x).logits)
    assert found.weights == f"{saved.name}/model.safetensors"
    assert found.weights_sha256 is not None
    assert config.weights_sha256 is None
    assert found.expected is not None
    assert (found.expected.channels, found.expected.size, found.preprocess) == (1, None, None)


PROCESSORS = {
    "crop": (
        {"size": {"shortest_edge": 64}, "do_center_crop": True,
         "crop_size": {"height": 48, "width": 48}, "resample": 3, "image_mean": [0.5],
         "image_std": [0.25]},
        (48, "0.5/0.25", 0.75, "bicubic"),
    ),
    "pct": (
        {"size": {"shortest_edge": 40}, "crop_pct": 0.875, "image_mean": [0.1, 0.2, 0.6],
         "image_std": [0.5, 0.5, 0.5], "resample": 2},
        (40, "0.3/0.5", 0.875, "bilinear"),
    ),
    "not normalised": ({"size": 32, "do_normalize": False, "image_mean": [0.5]},
                       (32, "0.0/1.0", None, None)),
    "not rescaled": ({"size": 32, "do_rescale": False, "image_mean": [127.5], "image_std": [51.0]},
                     (32, "0.5/0.2", None, None)),
    "shifted": ({"size": 32, "rescale_offset": True, "image_mean": [0.5]}, (32, None, None, None)),
    "oblong": ({"size": {"height": 32, "width": 48}, "image_mean": [0.5], "image_std": [0.5]},
               (None, "0.5/0.5", None, None)),
}  # fmt: skip


@pytest.mark.parametrize("case", PROCESSORS)
def test_an_image_processor_is_understood(saved: Path, tmp_path: Path, case: str) -> None:
    values, wanted = PROCESSORS[case]
    (tmp_path / "config.json").write_text((saved / "config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    found = load_model(f"hf:{tmp_path}")  # no weights: the architecture alone
    assert found.weights_sha256 is None
    own = found.expected
    assert own is not None
    assert (own.size, found.preprocess, own.crop, own.interpolation) == wanted
    assert own.source.endswith("preprocessor_config.json")


def test_a_broken_folder_says_so(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text((saved / "config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot read"):
        load_model(f"hf:{tmp_path}")
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot load"):
        load_model(f"hf:{tmp_path}")


def test_a_backbone_without_a_head_is_refused(saved: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(saved / "model.safetensors")
    lacking = {key: value for key, value in state.items() if not key.startswith("classifier")}
    save_file(lacking, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((saved / "config.json").read_text())
    with pytest.raises(ModelError, match="no weights for classifier"):
        load_model(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("spec", "extra"), [("timm:test_resnet", "timm"), (f"hf:{HF}", "transformers")]
)
def test_a_missing_extra_is_named(spec: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.partition(".")[0] == extra:
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match=rf"camaudit\[{extra}\]"):
        load_model(spec)


def test_the_seed_draws_other_weights() -> None:
    one, other = (load_model("timm:test_resnet", seed=seed).model for seed in (0, 1))
    assert isinstance(one, nn.Module)
    assert not all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
