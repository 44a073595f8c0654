"""The seam of a data set is the dead zone of the wall that an audit builds."""

import pytest
import torch

from camaudit.audit.seam import seam_of_wall
from camaudit.audit.settings import Settings
from camaudit.audit.subject import build_subject
from camaudit.data.seam import dead_mask, lower_rows
from camaudit.errors import WallError


def test_the_papers_wall():
    wall, size = seam_of_wall("vgg16")
    assert size == 224
    paper = lower_rows(None, 224)
    assert (wall.dead_rows, wall.pixel_dead_rows) == (paper.dead_rows, paper.pixel_dead_rows)
    assert wall.dead_rows == 54
    assert "5 of 14 rows live" in wall.description


def test_a_wall_in_a_model(factory):
    spec = f"{factory}:build"
    wall, size = seam_of_wall(spec, size=64, layer="0", live_rows=4)
    assert size == 64
    zone = build_subject(Settings(model=spec, layer="0", live_rows=4, image_size=64)).walled.zone
    assert torch.equal(torch.from_numpy(dead_mask(wall, (64, 64))), zone.pixel_dead)
    assert wall.dead_rows == len(zone.pixel_dead_rows) > 0
    assert "rows 0-3 of 8" in wall.description


def test_what_does_not_fit_the_papers_wall():
    for options in ({"size": 64}, {"size": 224, "layer": "28"}):
        with pytest.raises(WallError, match="224×224 pixels and has its wall after layer 29"):
            seam_of_wall("vgg16", **options)
