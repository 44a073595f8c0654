"""Every format is made with Pillow here, and its pixels are checked, not only its shape."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from camaudit.data.images import (
    FORMATS,
    MAX_PIXELS,
    SUFFIXES,
    cover_box,
    decode,
    read_file,
    resize_center_crop,
)
from camaudit.errors import ImageError, UsageError

H, W = 40, 48
RAMP = (np.arange(H * W).reshape(H, W) * 7 % 256).astype(np.uint8)
COLOURS = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)


def encoded(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def grey(values):
    return np.repeat(np.asarray(values)[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_rgb_is_kept_and_has_no_note(file_format):
    decoded = decode(encoded(Image.fromarray(COLOURS), file_format))
    np.testing.assert_array_equal(decoded.pixels, COLOURS)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.notes == ()


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {"irreversible": False}),
    ],
)
def test_lossless_modern_formats(file_format, options):
    data = encoded(Image.fromarray(COLOURS), file_format, **options)
    np.testing.assert_array_equal(decode(data).pixels, COLOURS)


def test_jpeg_comes_close():
    smooth = np.zeros((64, 64, 3), np.uint8)
    smooth[:, :32], smooth[:, 32:] = (200, 40, 90), (10, 180, 60)
    pixels = decode(encoded(Image.fromarray(smooth), "JPEG", quality=98)).pixels
    assert np.abs(pixels[:, :28].astype(int) - (200, 40, 90)).max() <= 3
    assert np.abs(pixels[:, 36:].astype(int) - (10, 180, 60)).max() <= 3


def test_greyscale():
    decoded = decode(encoded(Image.fromarray(RAMP)))
    np.testing.assert_array_equal(decoded.pixels, grey(RAMP))
    assert decoded.notes == ("converted from greyscale",)


def test_one_bit():
    bits = RAMP > 100
    decoded = decode(encoded(Image.fromarray(bits)))
    np.testing.assert_array_equal(decoded.pixels, grey(bits * 255))
    assert decoded.notes == ("converted from 1-bit",)


def test_palette():
    image = Image.fromarray(RAMP % 3)
    image = image.convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 10, 20, 30])
    index = np.asarray(image)
    colours = np.array([(255, 0, 0), (0, 255, 0), (10, 20, 30)], np.uint8)
    decoded = decode(encoded(image))
    np.testing.assert_array_equal(decoded.pixels, colours[index])
    assert decoded.notes == ("converted from palette",)


def test_palette_with_a_transparent_colour_shows_white_there():
    image = Image.fromarray(RAMP % 2).convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    index = np.asarray(image)
    decoded = decode(encoded(image, transparency=1))
    expected = np.array([(255, 0, 0), (255, 255, 255)], np.uint8)[index]
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.notes == ("converted from palette", "transparency composited over white")


def test_rgb_with_a_transparent_colour_shows_white_there():
    pixels = COLOURS.copy()
    pixels[:20] = (1, 2, 3)
    decoded = decode(encoded(Image.fromarray(pixels), transparency=(1, 2, 3)))
    expected = pixels.copy()
    expected[:20] = 255
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.notes == ("transparency composited over white",)


def over_white(colour, alpha):
    exact = (alpha * colour.astype(float) + (255.0 - alpha) * 255) / 255
    return np.floor(exact + 0.5)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_rgba_over_white(file_format):
    alpha = RAMP[:, ::-1]
    image = Image.fromarray(np.dstack([COLOURS, alpha]))
    decoded = decode(encoded(image, file_format))
    np.testing.assert_array_equal(decoded.pixels, over_white(COLOURS, alpha[..., None]))
    assert decoded.notes == ("converted from RGBA", "transparency composited over white")


def test_opaque_rgba_only_loses_its_alpha():
    image = Image.fromarray(np.dstack([COLOURS, np.full((H, W), 255, np.uint8)]))
    decoded = decode(encoded(image))
    np.testing.assert_array_equal(decoded.pixels, COLOURS)
    assert decoded.notes == ("converted from RGBA",)


def test_grey_with_alpha():
    alpha = RAMP[::-1]
    image = Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(alpha)])
    decoded = decode(encoded(image))
    np.testing.assert_array_equal(decoded.pixels, grey(over_white(RAMP, alpha)))
    assert decoded.notes[0] == "converted from greyscale with alpha"


def test_cmyk_tiff():
    bands = [RAMP, RAMP[::-1], 255 - RAMP, RAMP // 2]
    image = Image.merge("CMYK", [Image.fromarray(np.ascontiguousarray(band)) for band in bands])
    decoded = decode(encoded(image, "TIFF"))
    ink, key = np.stack(bands[:3], axis=2).astype(float), bands[3][..., None].astype(float)
    expected = (255 - ink) * (255 - key) / 255
    assert np.abs(decoded.pixels - expected).max() <= 1
    assert decoded.notes == ("converted from CMYK",)


def test_cmyk_jpeg_is_not_inverted():
    image = Image.new("CMYK", (W, H), (0, 255, 255, 0))
    decoded = decode(encoded(image, "JPEG", quality=98))
    assert np.abs(decoded.pixels.astype(int) - (255, 0, 0)).max() <= 4
    assert decoded.notes == ("converted from CMYK",)


SIXTEEN = (np.arange(H * W).reshape(H, W) * 34).astype(np.uint16)
SIXTEEN[0, :2] = 0, 65535


PGM = b"P5 %d %d 65535\n" % (W, H) + SIXTEEN.astype(">u2").tobytes()


@pytest.mark.parametrize(
    "data",
    [encoded(Image.fromarray(SIXTEEN)), encoded(Image.fromarray(SIXTEEN), "TIFF"), PGM],
    ids=["PNG", "TIFF", "PGM"],
)
def test_16_bit_greyscale_is_scaled_and_not_clipped(data):
    decoded = decode(data)
    np.testing.assert_array_equal(decoded.pixels, grey((SIXTEEN.astype(int) + 128) // 257))
    assert decoded.pixels[0, 1, 0] == 255
    assert decoded.notes == ("converted from 16-bit greyscale (divided by 257)",)


def test_dark_16_bit_greyscale_stays_dark():
    decoded = decode(encoded(Image.fromarray(np.full((H, W), 200, np.uint16)), "PNG"))
    assert (decoded.pixels == 1).all()


def big_endian_tiff(values):
    """The simplest TIFF there is: big-endian, one strip, 16 bits a pixel."""
    height, width = values.shape
    entries = [(256, 4, width), (257, 4, height), (258, 3, 16), (259, 3, 1), (262, 3, 1)]
    entries += [(273, 4, 8 + 2 + 12 * 8 + 4), (278, 4, height), (279, 4, values.size * 2)]
    body = struct.pack(">H", len(entries))
    for tag, kind, value in entries:
        packed = struct.pack(">I", value) if kind == 4 else struct.pack(">HH", value, 0)
        body += struct.pack(">HHI", tag, kind, 1) + packed
    return b"MM\x00*" + struct.pack(">I", 8) + body + bytes(4) + values.astype(">u2").tobytes()


def test_big_endian_16_bit():
    decoded = decode(big_endian_tiff(SIXTEEN))
    np.testing.assert_array_equal(decoded.pixels, grey((SIXTEEN.astype(int) + 128) // 257))


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        (RAMP.astype(np.int32), RAMP, "(0 to 255)"),
        (SIXTEEN.astype(np.int32), (SIXTEEN.astype(int) + 128) // 257, "(0 to 65535)"),
        (RAMP.astype(np.int32) * 1000 - 5, RAMP, "(min-max scaled from -5 to 254995)"),
        (np.full((H, W), 99_999, np.int32), np.zeros((H, W)), "from 99999 to 99999)"),
        (RAMP.astype(np.float32) / 255, RAMP, "(0 to 1)"),
        (RAMP.astype(np.float32), RAMP, "(0 to 255)"),
        (RAMP.astype(np.float32) * 257, RAMP, "(0 to 65535)"),
        (RAMP.astype(np.float32) * 2 - 100, RAMP, "(min-max scaled from -100 to 410)"),
    ],
)
def test_32_bit_modes(values, expected, note):
    assert RAMP.min() == 0
    assert RAMP.max() == 255
    decoded = decode(encoded(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(decoded.pixels, grey(expected))
    kind = "32-bit float" if values.dtype == np.float32 else "32-bit integer"
    assert decoded.notes[0].startswith(f"converted from {kind}")
    assert decoded.notes[0].endswith(note)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_floats_that_are_not_finite_are_refused(bad):
    values = np.zeros((H, W), np.float32)
    values[3, 4] = bad
    with pytest.raises(ImageError, match="NaN or infinite"):
        decode(encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize(
    ("lightness", "expected"),  # L* of sRGB grey 128 is 53.585, of 255 it is 100
    [(0, 0), (53.585, 128), (100, 255)],
)
def test_lab(lightness, expected):
    image = Image.new("LAB", (W, H), (round(lightness * 2.55), 128, 128))
    decoded = decode(encoded(image, "TIFF"))
    assert np.abs(decoded.pixels.astype(int) - expected).max() <= 2
    assert decoded.notes == ("converted from LAB",)


def test_ycbcr():
    image = Image.fromarray(COLOURS).convert("YCbCr")
    luma, blue, red = np.moveaxis(np.asarray(image).astype(float), 2, 0)
    expected = np.stack(
        [
            luma + 1.402 * (red - 128),
            luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
            luma + 1.772 * (blue - 128),
        ],
        axis=2,
    )
    data = encoded(image, "TIFF")
    try:
        Image.open(io.BytesIO(data)).load()
    except OSError:
        pytest.skip("this Pillow reads no uncompressed YCbCr TIFF")
    decoded = decode(data)
    assert np.abs(decoded.pixels - np.clip(expected, 0, 255)).max() <= 2
    assert decoded.notes == ("converted from YCbCr",)


# What a viewer does for each EXIF orientation, as plain array operations.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation(file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(Image.fromarray(COLOURS), file_format, exif=exif, **options)
    np.testing.assert_array_equal(decode(data).pixels, TURNS[orientation](COLOURS))


def test_the_turn_is_noted():
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encoded(Image.fromarray(RAMP), "JPEG", exif=exif))
    assert decoded.pixels.shape == (W, H, 3)
    assert decoded.notes == ("converted from greyscale", "turned upright (EXIF orientation 6)")


@pytest.mark.parametrize("block", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1"])
def test_broken_exif_does_not_lose_the_image(block):
    decoded = decode(encoded(Image.fromarray(COLOURS), "JPEG", exif=block))
    assert decoded.pixels.shape == COLOURS.shape


def frames(count):
    return [Image.fromarray(COLOURS)] + [
        Image.new("RGB", (W, H), (k, 0, 0)) for k in range(1, count)
    ]


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})],
)
def test_first_of_many_frames(file_format, options):
    first, *rest = frames(12)
    data = encoded(first, file_format, save_all=True, append_images=rest, **options)
    decoded = decode(data)
    np.testing.assert_array_equal(decoded.pixels, COLOURS)
    assert decoded.notes[-1] == "first of 12 frames"


def test_first_of_many_gif_frames():
    first = Image.new("RGB", (W, H), (250, 10, 20))
    rest = [Image.new("RGB", (W, H), (k, 200, 0)) for k in range(3)]
    decoded = decode(encoded(first, "GIF", save_all=True, append_images=rest))
    assert (decoded.pixels == (250, 10, 20)).all()
    assert decoded.notes == ("converted from palette", "first of 4 frames")


def test_first_picture_of_a_multi_picture_jpeg():
    first, rest = Image.new("RGB", (W, H), (200, 20, 30)), [Image.new("RGB", (W, H))]
    decoded = decode(encoded(first, "MPO", save_all=True, append_images=rest, quality=98))
    assert np.abs(decoded.pixels.astype(int) - (200, 20, 30)).max() <= 3
    assert decoded.notes == ("first of 2 frames",)


def test_avif():
    Image.init()
    if "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow writes no AVIF")
    decoded = decode(encoded(Image.new("RGB", (W, H), (200, 20, 30)), "AVIF", quality=98))
    assert np.abs(decoded.pixels.astype(int) - (200, 20, 30)).max() <= 4
    assert decoded.notes == ()


def test_damage_after_the_first_frame_is_noted():
    first, *rest = frames(3)
    data = encoded(first, "TIFF", save_all=True, append_images=rest, compression="raw")
    decoded = decode(data[: len(data) - COLOURS.nbytes - 300])
    np.testing.assert_array_equal(decoded.pixels, COLOURS)
    assert "frame" in decoded.notes[-1]


def test_file_and_bytes_give_the_same(tmp_path):
    path = tmp_path / "no extension needed"
    path.write_bytes(encoded(Image.fromarray(COLOURS)))
    np.testing.assert_array_equal(decode(path).pixels, decode(path.read_bytes()).pixels)


@pytest.mark.parametrize("data", [b"", b"hello", bytes(5000), b"%!PS-Adobe-3.0 EPSF-3.0\n" * 9])
def test_what_is_no_image(data):
    with pytest.raises(ImageError, match="empty" if not data else "not an image"):
        decode(data)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM", "GIF"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated(file_format, share):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), file_format)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * share)])
    assert "\n" not in str(caught.value)


def test_missing_file_folder_and_link(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        decode(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="not a regular file"):
        read_file(tmp_path)
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with pytest.raises(ImageError):
        read_file(loop)


def test_too_small():
    data = encoded(Image.new("RGB", (40, 31)))
    with pytest.raises(ImageError, match="40×31 is too small: each side needs 32 pixels"):
        decode(data)
    assert decode(data, min_side=31).pixels.shape == (31, 40, 3)
    with pytest.raises(UsageError, match="min_side"):
        decode(data, min_side=0)


def png_header(width, height):
    """A PNG that claims a size and holds next to no pixels."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("side", "reason"),
    [
        (9_500, "truncated"),  # Pillow would warn here, but it is within the limit
        (10_001, "10001×10001 is more than 100 megapixels"),
        (60_000, "60000×60000 is more than 100 megapixels"),
    ],
)
def test_decompression_bombs_are_refused_on_the_header(side, reason):
    assert 9_500**2 < MAX_PIXELS < 10_001**2
    with pytest.raises(ImageError, match=reason):
        decode(png_header(side, side) if side > 9_500 else png_header(side, side)[:60])


def test_no_warning_leaks_and_no_filter_stays():
    before = list(warnings.filters)
    decode(encoded(Image.fromarray(COLOURS)))
    with pytest.raises(ImageError):
        decode(b"II*\0" + b"\xff" * 40)
    assert warnings.filters == before


SEEDS = [
    encoded(Image.fromarray(COLOURS), "JPEG"),
    encoded(Image.fromarray(COLOURS), "PNG"),
    encoded(Image.fromarray(RAMP), "GIF"),
    encoded(Image.fromarray(COLOURS), "TIFF", compression="tiff_lzw"),
    encoded(Image.fromarray(COLOURS), "WEBP"),
    encoded(Image.fromarray(COLOURS), "BMP"),
]


@settings(max_examples=200, deadline=None)
@given(
    data=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    keep=st.floats(0, 1),
)
def test_damaged_bytes_give_pixels_or_an_image_error(data, edits, keep):
    damaged = bytearray(data)
    for place, value in edits:
        damaged[int(place * len(damaged))] = value
    try:
        decoded = decode(bytes(damaged[: int(keep * len(damaged))]))
    except ImageError as error:
        reason = str(error)
    else:
        reason = "one line"
        assert decoded.pixels.ndim == 3
        assert decoded.pixels.dtype == np.uint8
    assert len(reason.splitlines()) == 1


def test_every_format_is_known_to_this_pillow():
    Image.init()
    optional = {"AVIF", "WEBP", "JPEG2000"}
    assert set(FORMATS) - optional <= set(Image.OPEN)
    assert "EPS" not in FORMATS
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)
    suffixes = {name for name, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert suffixes | {".pnm", ".apng", ".dib", ".avif"} >= SUFFIXES


# --- resize_center_crop


@settings(max_examples=60, deadline=None)
@given(height=st.integers(5, 90), width=st.integers(5, 90), size=st.integers(1, 40))
def test_it_is_torchvisions_resize_and_center_crop(height, width, size):
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    if max(height, width) > 8 * min(height, width):
        return
    pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    resized = Resize(size, InterpolationMode.BILINEAR)(Image.fromarray(pixels))
    expected = np.asarray(CenterCrop(size)(resized))
    np.testing.assert_array_equal(resize_center_crop(pixels, size), expected)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    out=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_any_size_is_covered(height, width, out):
    pixels = np.full((height, width, 3), 77, np.uint8)
    cut = resize_center_crop(pixels, out)
    assert cut.shape == (*out, 3)
    assert cut.flags.c_contiguous
    assert (cut == 77).all()
    left, top, right, bottom = cover_box(height, width, out)
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1


def test_ribbons_stay_small(monkeypatch):
    sizes = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image,
        "resize",
        lambda self, size, *rest: (sizes.append(size), resize(self, size, *rest))[1],
    )
    assert resize_center_crop(np.zeros((2, 100_000, 3), np.uint8), 224).shape == (224, 224, 3)
    assert sizes == [(8 * 224, 224)]


def test_cover_box_says_what_is_shown():
    assert cover_box(100, 200, 50) == (0.25, 0.0, 0.75, 1.0)
    assert cover_box(200, 100, (50, 50)) == (0.0, 0.25, 1.0, 0.75)
    assert cover_box(100, 100, (50, 100)) == (0.0, 0.25, 1.0, 0.75)
    marked = np.zeros((100, 200, 3), np.uint8)
    marked[:, 50:150] = 255
    assert (resize_center_crop(marked, 100) == 255).all()


def test_downscaling_is_antialiased():
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    small = resize_center_crop(grey(checks), 16)
    assert np.abs(small.astype(int) - 127).max() <= 4


def test_bad_pixels_and_sizes():
    good = np.zeros((40, 40, 3), np.uint8)
    for bad in (good[..., 0], good.astype(np.float32), np.zeros((4, 4, 4), np.uint8), good[:0]):
        with pytest.raises(UsageError, match="expected uint8 pixels"):
            resize_center_crop(bad, 8)
    for size in (0, -1, (0, 5)):
        with pytest.raises(UsageError, match="size must be"):
            resize_center_crop(good, size)
