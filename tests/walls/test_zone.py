"""The scored zone against exact rational arithmetic, and what a zone says of itself."""

import json
import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from camaudit.errors import UsageError, WallError
from camaudit.walls.zone import DeadZone, Verification, scored_zone
from tests.references.cams import reference_bilinear_support, reference_scored_rows

#: Sizes whose half-pixel positions are exact in binary, so that no rounding comes in.
EXACT = [(1, 7), (2, 8), (4, 16), (4, 64), (7, 7), (7, 28), (7, 56), (7, 224), (14, 112), (14, 224)]
OTHER = [(h, H) for h in (2, 3, 5, 6, 7, 9, 13, 14) for H in (5, 11, 17, 29, 53, 100, 299)]


def closed_support(h: int, H: int) -> list[set[int]]:
    """The exact support and, at pixels on the very centre of a cell, the cells beside it."""
    support = reference_bilinear_support(h, H)
    if h == H:
        return support
    for i in range(H):
        position = Fraction(2 * i + 1, 2) * Fraction(h, H) - Fraction(1, 2)
        support[i] |= {cell for cell in range(h) if abs(position - cell) == 1}
    return support


def rows_of(mask: Tensor) -> list[int]:
    assert (mask.any(dim=1) == mask.all(dim=1)).all()
    return mask.all(dim=1).nonzero().flatten().tolist()


@pytest.mark.parametrize(("h", "H"), EXACT)
@pytest.mark.parametrize("seed", range(4))
def test_scored_rows_equal_the_exact_reference(h: int, H: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    dead_cells = torch.rand(h, generator=generator) < 0.6
    dead_pixels = torch.rand(H, generator=generator) < 0.8
    if seed == 0:
        dead_cells, dead_pixels = torch.arange(h) > h // 3, torch.arange(H) > H // 3
    scored = scored_zone(dead_cells[:, None].expand(h, 3), dead_pixels[:, None].expand(H, 6))
    cells, pixels = (set(d.nonzero().flatten().tolist()) for d in (dead_cells, dead_pixels))
    assert rows_of(scored) == reference_scored_rows(h, H, cells, pixels)


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize(("h", "H"), OTHER)
def test_scored_rows_lie_in_the_exact_reference_and_miss_cell_centres_alone(
    h: int, H: int, upside_down: bool
) -> None:
    support, closed = reference_bilinear_support(h, H), closed_support(h, H)
    for live in range(1, h):
        dead = torch.arange(h) < h - live if upside_down else torch.arange(h) >= live
        cells = set(dead.nonzero().flatten().tolist())
        exact = reference_scored_rows(h, H, cells, range(H))
        scored = rows_of(scored_zone(dead[:, None].expand(h, 2), torch.ones(H, 5) > 0))
        assert set(scored) <= set(exact)
        missed = set(exact) - set(scored)
        assert len(missed) <= 1
        assert all(len(support[row]) == 1 and closed[row] - cells for row in missed)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 6), st.integers(1, 24), st.integers(1, 24), st.integers(0, 99)
)
def test_scored_zone_of_scattered_masks(h: int, w: int, H: int, W: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    feature_dead = torch.rand(h, w, generator=generator) < 0.6
    pixel_dead = torch.rand(H, W, generator=generator) < 0.7
    scored = scored_zone(feature_dead, pixel_dead)
    rows, columns = closed_support(h, H), closed_support(w, W)
    for i in range(H):
        for j in range(W):
            hidden = all(feature_dead[a, b] for a in rows[i] for b in columns[j])
            assert bool(scored[i, j]) is (bool(pixel_dead[i, j]) and hidden)


def raise_maps(maps: Tensor, size: tuple[int, int]) -> list[Tensor]:
    """torch's own upsampling by several of its kernels, whose rounding differs."""
    found = []
    for dtype in (torch.float32, torch.float64):
        for copies in ((1, 1), (4, 1), (2, 8)):
            for layout in (torch.contiguous_format, torch.channels_last):
                batch = maps.to(dtype).expand(*copies, *maps.shape).clone(memory_format=layout)
                raised = F.interpolate(batch, size=size, mode="bilinear", align_corners=False)
                found.append(raised.abs().amax(dim=(0, 1)))
    return found


@pytest.mark.parametrize(("h", "H"), [*EXACT, *OTHER, (5, 125), (3, 75), (2, 50), (2, 82)])
def test_no_row_of_the_scored_zone_gets_anything_from_a_live_row(h: int, H: int) -> None:
    for dead in (torch.arange(h) >= h // 2, torch.arange(h) < (h + 1) // 2):
        scored = scored_zone(dead[:, None].expand(h, h), torch.ones(H, H, dtype=torch.bool))
        live = (~dead).float()[:, None].expand(h, h)
        assert not any(raised[scored].any() for raised in raise_maps(live, (H, H)))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 16), st.integers(1, 16), st.integers(1, 70), st.integers(1, 70),
    st.integers(0, 99),
)  # fmt: skip
def test_no_scored_pixel_gets_anything_from_a_live_cell(
    h: int, w: int, H: int, W: int, seed: int
) -> None:
    """A map that is 0 on dead cells is exactly 0 there after float32 upsampling."""
    generator = torch.Generator().manual_seed(seed)
    feature_dead = torch.rand(h, w, generator=generator) < 0.7
    scored = scored_zone(feature_dead, torch.ones(H, W, dtype=torch.bool))
    maps = torch.rand(h, w, generator=generator) * 1e6 + 1
    maps[feature_dead] = 0
    assert not any(raised[scored].any() for raised in raise_maps(maps, (H, W)))


def test_map_of_the_images_size_is_scored_cell_by_cell() -> None:
    dead = torch.tensor([[True, False], [False, True]])
    assert torch.equal(scored_zone(dead, torch.ones(2, 2) > 0), dead)


def test_paper_zone_is_54_rows() -> None:
    feature_dead = (torch.arange(14) >= 5)[:, None].expand(14, 14)
    pixel_dead = (torch.arange(224) >= 170)[:, None].expand(224, 224)
    assert rows_of(scored_zone(feature_dead, pixel_dead)) == list(range(170, 224))
    everything = torch.ones(224, 224, dtype=torch.bool)
    assert rows_of(scored_zone(feature_dead, everything)) == list(range(88, 224))


@pytest.mark.parametrize("shapes", [((1, 3, 3), (6, 6)), ((3, 3), (1, 6, 6)), ((9,), (6, 6))])
def test_masks_of_other_dimensions_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    cells, pixels = (torch.ones(shape, dtype=torch.bool) for shape in shapes)
    with pytest.raises(WallError, match="two dimensions"):
        scored_zone(cells, pixels)


# ----------------------------------------------------------------------------------- DeadZone


@pytest.fixture
def zone() -> DeadZone:
    """A 4×4 grid with its lower half dead on an 8×6 image, of which rows 3-7 are dead."""
    feature_dead = (torch.arange(4) >= 2)[:, None].expand(4, 4)
    pixel_dead = (torch.arange(8) >= 3)[:, None].expand(8, 6)
    scored = scored_zone(feature_dead, pixel_dead)
    return DeadZone(feature_dead, pixel_dead, scored, "split trunk", "because.")


def outcome(**changes: Any) -> Verification:
    values: dict[str, Any] = {
        "perturbations": 7, "max_abs_difference": 0.0, "bound": 0.0, "bit_equal": True,
        "live_changed": True, "device": "cpu", "seed": 0,
    }  # fmt: skip
    return Verification(**{**values, **changes})


def test_fractions_and_rows(zone: DeadZone) -> None:
    assert zone.exists
    assert zone.feature_fraction == 0.5
    assert zone.pixel_fraction == 5 / 8
    assert zone.scored_fraction == 3 / 8
    assert zone.pixel_dead_rows == [3, 4, 5, 6, 7]
    assert zone.pixel_dead_columns == []


def test_columns_need_their_whole_height() -> None:
    pixel_dead = torch.zeros(4, 5, dtype=torch.bool)
    pixel_dead[:, 3:] = True
    pixel_dead[1:, 0] = True
    zone = DeadZone(pixel_dead, pixel_dead, pixel_dead, "split trunk", "because.")
    assert zone.pixel_dead_columns == [3, 4]
    assert zone.pixel_dead_rows == []


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (2, "Pixel (row 2, column 5) is live or not proven dead: because."),
        (3, "Pixel (row 3, column 5) is dead: because. It is not scored, because bilinear"),
        (4, "Pixel (row 4, column 5) is dead: because. It is not scored, because bilinear"),
        (5, "Pixel (row 5, column 5) is dead and scored: because."),
    ],
)
def test_explain(zone: DeadZone, row: int, sentence: str) -> None:
    assert zone.explain(row, 5).startswith(sentence)


@pytest.mark.parametrize("pixel", [(8, 0), (0, 6), (-1, 0), (0, -1)])
def test_explain_refuses_pixels_outside_the_image(zone: DeadZone, pixel: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=r"outside the image: rows are 0 to 7, columns 0 to 5"):
        zone.explain(*pixel)


def test_to_dict_is_plain_json(zone: DeadZone) -> None:
    found = json.loads(json.dumps(zone.to_dict(), allow_nan=False))
    assert found == {
        "kind": "split trunk",
        "why": "because.",
        "feature_dead": [[0] * 4, [0] * 4, [1] * 4, [1] * 4],
        "feature_fraction": 0.5,
        "pixel_dead_rows": [3, 4, 5, 6, 7],
        "pixel_dead_columns": [],
        "pixel_fraction": 0.625,
        "scored_rows": [5, 6, 7],
        "scored_fraction": 0.375,
        "verified": False,
        "verification": None,
    }


@pytest.mark.parametrize("value", [0.0, 0.25, math.inf, math.nan])
def test_verified_zone_is_json_too(zone: DeadZone, value: float) -> None:
    checked = zone.with_verification(outcome(max_abs_difference=value, bound=value))
    found = json.loads(json.dumps(checked.to_dict(), allow_nan=False))
    finite = math.isfinite(value)
    assert found["verified"] is finite
    assert found["verification"]["max_abs_difference"] == (value if finite else None)
    assert found["verification"]["bound"] == (value if finite else None)
    assert found["verification"]["perturbations"] == 7
    assert zone.verification is None


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, True),
        ({"max_abs_difference": 1e-6}, False),
        ({"max_abs_difference": 1e-6, "bound": 1e-5}, True),
        ({"live_changed": False}, False),
        ({"max_abs_difference": math.inf, "bound": math.inf}, False),
        ({"max_abs_difference": math.nan}, False),
    ],
)
def test_verification_passes_only_where_something_was_tested(
    changes: dict[str, Any], passed: bool
) -> None:
    assert outcome(**changes).passed is passed
