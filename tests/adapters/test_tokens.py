"""Other libraries on layers of tokens: the grid is given to them, and it is the right one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camaudit.adapters import load_adapter
from camaudit.capture import capture
from camaudit.cut import cut_at
from camaudit.errors import MethodError
from camaudit.maps import upsample
from camaudit.methods import compute
from camaudit.spelling import spelled
from camaudit.walls import split_trunk
from tests.networks import images
from tests.token_networks import tiny


def minmax(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low)


@pytest.mark.parametrize("walled", [False, True])
@pytest.mark.parametrize("prefix", [0, 2])
def test_grad_cam_of_tokens_is_ours(walled: bool, prefix: int) -> None:
    pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam is not installed")
    pytest.importorskip("torchcam", reason="torchcam is not installed")
    x = images(2, (16, 24))
    model = tiny(prefix=prefix, pool="class" if prefix else "mean", depth=4, seed=2)
    cut = cut_at(model, "blocks.1", x[:1])
    divided = split_trunk(model, "blocks.1", x[:1]) if walled else cut
    seen = capture(divided, x)
    ours = compute("gradcam", seen)
    assert bool((ours.amax(dim=(1, 2)) > 0).all())
    given = (divided, "trunk") if walled else (model, "blocks.1")
    theirs = load_adapter(spelled("torchcam:GradCAM"))(*given, x, seen.targets)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5 * float(ours.max()))
    theirs = load_adapter(spelled("pytorch_grad_cam:GradCAM"))(*given, x, seen.targets)
    wanted = minmax(upsample(minmax(ours), (16, 24)))
    torch.testing.assert_close(theirs.float(), wanted, rtol=1e-3, atol=1e-3)


def test_captums_layers_are_read_through_the_grid() -> None:
    pytest.importorskip("captum", reason="captum is not installed")
    x = images(2, (16, 24))
    model = tiny(depth=4)
    seen = capture(cut_at(model, "blocks.1", x[:1]), x)
    call = "captum:LayerGradientXActivation(reduce=sum)"
    found = load_adapter(spelled(call))(model, "blocks.1", x, seen.targets)
    wanted = (seen.gradients * seen.activations).sum(dim=1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    with pytest.raises(MethodError, match="takes the second dimension of its layer for channels"):
        load_adapter(spelled("captum:LayerGradCam"))(model, "blocks.1", x, seen.targets)
