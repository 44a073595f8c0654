"""Standardisation against the formula, written out, and against torchvision."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import functional

from camaudit.data.preprocess import NORMALISATIONS, parse_preprocess
from camaudit.errors import UsageError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", [*NORMALISATIONS, "0.5/0.25", "0.1,0.2,0.3/0.4,0.5,0.6"])
def test_every_pixel_by_the_formula(name):
    normalisation = parse_preprocess(name)
    tensor = normalisation.to_tensor(PIXELS, dtype=torch.float64)
    assert tensor.shape == (3, 3, 5, 7)
    assert tensor.is_contiguous()
    for n, y, x, c in np.ndindex(PIXELS.shape):
        mean, std = normalisation.mean[c], normalisation.std[c]
        assert tensor[n, c, y, x].item() == (int(PIXELS[n, y, x, c]) / 255 - mean) / std


def test_torchvision_agrees():
    normalisation = parse_preprocess("imagenet")
    expected = torch.stack(
        [
            functional.normalize(functional.to_tensor(image), normalisation.mean, normalisation.std)
            for image in PIXELS
        ]
    )
    torch.testing.assert_close(normalisation.to_tensor(PIXELS), expected)


def test_lite_is_127_and_128():
    scaled = parse_preprocess("lite").to_tensor(PIXELS, dtype=torch.float64)
    expected = (torch.from_numpy(PIXELS).double().permute(0, 3, 1, 2) - 127) / 128
    torch.testing.assert_close(scaled, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_round_once(dtype):
    normalisation = NORMALISATIONS["imagenet"]
    tensor = normalisation.to_tensor(PIXELS, dtype=dtype)
    assert tensor.dtype == dtype
    assert torch.equal(tensor, normalisation.to_tensor(PIXELS, dtype=torch.float64).to(dtype))


def test_lists_and_read_only_arrays():
    normalisation = NORMALISATIONS["lite"]
    frozen = PIXELS.copy()
    frozen.setflags(write=False)
    assert torch.equal(normalisation.to_tensor(list(frozen)), normalisation.to_tensor(PIXELS))
    assert torch.equal(
        normalisation.to_tensor(PIXELS[:, ::-1]).flip(2), normalisation.to_tensor(PIXELS)
    )
    assert normalisation.to_tensor(PIXELS).dtype == torch.float32


@pytest.mark.parametrize(
    "pixels",
    [
        [],
        PIXELS[0],
        PIXELS.astype(np.float32),
        PIXELS[..., :2],
        [PIXELS[0], PIXELS[0, :4]],
        [PIXELS[0], PIXELS[1].astype(np.int64)],
    ],
)
def test_wrong_pixels(pixels):
    with pytest.raises(UsageError, match="expected"):
        NORMALISATIONS["lite"].to_tensor(pixels)


def test_wrong_dtype():
    with pytest.raises(UsageError, match=r"floating-point dtype, got torch\.int64"):
        NORMALISATIONS["lite"].to_tensor(PIXELS, dtype=torch.int64)


def test_names_and_numbers():
    assert parse_preprocess(" ImageNet ") is NORMALISATIONS["imagenet"]
    assert parse_preprocess("imagenet").mean == (0.485, 0.456, 0.406)
    assert parse_preprocess("imagenet").std == (0.229, 0.224, 0.225)
    assert parse_preprocess("lite").mean == (0.498,) * 3
    assert parse_preprocess("lite").std == (0.502,) * 3
    custom = parse_preprocess("0.5,0.25,1 / 2e-1")
    assert (custom.mean, custom.std) == ((0.5, 0.25, 1.0), (0.2, 0.2, 0.2))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("imagnet", "neither a name nor two parts"),
        ("", "neither a name nor two parts"),
        ("0.5", "two parts"),
        ("0.5/0.5/0.5", "two parts"),
        ("0.5,0.5/0.5", "the mean has 2 numbers, not 1 or 3"),
        ("0.5/1,1,1,1", "the standard deviation has 4 numbers"),
        ("a/0.5", "the mean 'a' is not made of numbers"),
        ("0.5,,0.5/0.5", "is not made of numbers"),
        ("nan/0.5", "the mean 'nan' is not finite"),
        ("0.5/inf", "the standard deviation 'inf' is not finite"),
        ("0.5/0", "a standard deviation is not positive"),
        ("0.5/0.5,0.5,-1", "a standard deviation is not positive"),
        ("127.5/127.5", "a mean lies outside 0…1; pixels are divided by 255 first"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(text, why):
    with pytest.raises(UsageError) as caught:
        parse_preprocess(text)
    message = str(caught.value)
    assert why in message
    assert repr(text) in message
    assert "'imagenet', 'lite', or MEAN/STD such as '0.5/0.5'" in message


@given(st.text(alphabet="0123456789.,/-einaf ", max_size=20))
def test_any_text_parses_or_is_a_usage_error(text):
    try:
        normalisation = parse_preprocess(text)
    except UsageError:
        return
    assert all(np.isfinite(normalisation.mean))
    assert all(value > 0 for value in normalisation.std)
