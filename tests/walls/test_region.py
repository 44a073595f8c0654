"""Dead cells by rows, sides and masks, against masks written out by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from camaudit.errors import WallError
from camaudit.walls.region import (
    SIDES,
    dead_cells,
    default_live_rows,
    describe,
    rectangle,
)


def drawn(picture: str) -> torch.Tensor:
    """A boolean mask from rows of `#` (True) and `.`."""
    return torch.tensor([[mark == "#" for mark in row] for row in picture.split()])


@pytest.mark.parametrize(
    ("dead", "picture"),
    [
        ("bottom:1", "..... ..... ..... #####"),
        ("top:3", "##### ##### ##### ....."),
        ("left:2", "##... ##... ##... ##..."),
        ("right:1", "....# ....# ....# ....#"),
        ("centre:1", "..... ..#.. ..... ....."),
        ("centre:2", "..... .##.. .##.. ....."),
        ("centre:4", "####. ####. ####. ####."),
    ],
)
def test_sides(dead: str, picture: str) -> None:
    assert torch.equal(dead_cells((4, 5), dead=dead), drawn(picture))


@pytest.mark.parametrize("live", [1, 2, 3])
def test_live_rows_stay_at_the_top(live: int) -> None:
    mask = dead_cells((4, 5), live_rows=live)
    assert not mask[:live].any()
    assert mask[live:].all()


@pytest.mark.parametrize("live", [0, 4, 5, -1])
def test_live_rows_that_leave_no_live_or_no_dead_row(live: int) -> None:
    with pytest.raises(WallError, match=rf"live rows must be 1 to 3.*got {live}"):
        dead_cells((4, 5), live_rows=live)


@pytest.mark.parametrize("live", [0, 1, 2])
def test_a_single_row_of_cells_has_no_live_rows_to_choose(live: int) -> None:
    with pytest.raises(WallError, match="a single row, so no wall fits"):
        dead_cells((1, 5), live_rows=live)
    assert dead_cells((1, 5), dead="left:2").tolist() == [[True, True, False, False, False]]


@pytest.mark.parametrize(
    "dead",
    ["", "bottom", "bottom:", "bottom:0", "bottom:-1", "bottom:x", "bottom:1.5", "bottom:²",
     "middle:2", "Bottom:1", "1:bottom", ":2", "bottom: 1"],
)  # fmt: skip
def test_misspelt_sides(dead: str) -> None:
    with pytest.raises(WallError, match="expected SIDE:N"):
        dead_cells((4, 5), dead=dead)


@pytest.mark.parametrize(
    ("dead", "most"),
    [("bottom:4", 3), ("top:9", 3), ("left:5", 4), ("right:5", 4), ("centre:5", 4)],
)
def test_sides_that_leave_nothing_live(dead: str, most: int) -> None:
    with pytest.raises(WallError, match=rf"leaves nothing live on a 4×5 grid; at most {most}"):
        dead_cells((4, 5), dead=dead)


def test_centre_over_a_whole_square_grid() -> None:
    with pytest.raises(WallError, match="every cell would be dead"):
        dead_cells((4, 4), dead="centre:4")


@pytest.mark.parametrize(("value", "which"), [(True, "dead"), (False, "live")])
def test_uniform_masks(value: bool, which: str) -> None:
    with pytest.raises(WallError, match=f"every cell would be {which}"):
        dead_cells((4, 5), dead=torch.full((4, 5), value))


def test_mask_is_copied() -> None:
    mask = drawn("#.#.. ..... .#... ....#")
    found = dead_cells((4, 5), dead=mask)
    assert torch.equal(found, mask)
    found[0, 1] = True
    assert not mask[0, 1]


@pytest.mark.parametrize(
    "mask",
    [torch.zeros(5, 4, dtype=torch.bool), torch.zeros(4, 5), torch.zeros(1, 4, 5) > 0,
     [[True, False]], 3],
)  # fmt: skip
def test_masks_of_another_shape_or_type(mask: object) -> None:
    with pytest.raises(WallError, match=r"expected a boolean mask of shape \(4, 5\); got"):
        dead_cells((4, 5), dead=mask)  # type: ignore[arg-type]


@pytest.mark.parametrize("both", [{}, {"live_rows": 2, "dead": "bottom:1"}])
def test_one_of_the_two_must_be_given(both: dict[str, object]) -> None:
    with pytest.raises(WallError, match="either live_rows or dead"):
        dead_cells((4, 5), **both)  # type: ignore[arg-type]


@given(st.integers(2, 20), st.integers(2, 20), st.sampled_from(SIDES), st.integers(1, 25))
def test_sides_count_what_they_say(h: int, w: int, side: str, n: int) -> None:
    sizes = {"bottom": n * w, "top": n * w, "left": n * h, "right": n * h, "centre": n * n}
    fits = {"bottom": n < h, "top": n < h, "left": n < w, "right": n < w}
    fits["centre"] = n <= min(h, w) and n * n < h * w
    if not fits[side]:
        with pytest.raises(WallError):
            dead_cells((h, w), dead=f"{side}:{n}")
        return
    mask = dead_cells((h, w), dead=f"{side}:{n}")
    assert int(mask.sum()) == sizes[side]
    flipped = {"bottom": "top", "left": "right"}.get(side)
    if flipped:
        assert torch.equal(mask.flip(0, 1), dead_cells((h, w), dead=f"{flipped}:{n}"))


def test_default_live_rows_are_four_of_seven() -> None:
    found = [default_live_rows(rows) for rows in (2, 3, 4, 7, 8, 14, 16, 28)]
    assert found == [1, 2, 2, 4, 5, 8, 9, 16]


def test_rectangle_of_live_cells() -> None:
    assert rectangle(drawn("..... .##.. .##.. .....")) == (slice(1, 3), slice(1, 3))
    assert rectangle(drawn("##### ..... ..... .....")) == (slice(0, 1), slice(0, 5))
    assert rectangle(drawn("##### ####. ..... .....")) is None
    assert rectangle(drawn("#.... ..... ..... ....#")) is None


@pytest.mark.parametrize(
    ("live", "words"),
    [
        ("##### ##### ..... .....", "rows 0-1 of 4"),
        ("..### ..### ..### ..###", "columns 2-4 of 5"),
        ("..... ..### ..### .....", "rows 1-2 of 4 and columns 2-4 of 5"),
        ("##### #...# #...# #####", "14 of 20 cells"),
    ],
)
def test_describe(live: str, words: str) -> None:
    assert describe(drawn(live)) == words
