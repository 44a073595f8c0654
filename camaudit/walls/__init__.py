"""Walls: models that provably cannot see a part of their image, and the zone that they hide."""

from camaudit.walls.insert import Wall, WalledModel, insert_wall, inserted_wall
from camaudit.walls.region import dead_cells
from camaudit.walls.split import SplitTrunk, split_trunk
from camaudit.walls.verification import verify_zone
from camaudit.walls.vgg16 import (
    MaskedLinear,
    PaperVGG16,
    paper_twins,
    paper_wall,
    paper_widths,
)
from camaudit.walls.zone import DeadZone, Verification, scored_zone

__all__ = [
    "DeadZone",
    "MaskedLinear",
    "PaperVGG16",
    "SplitTrunk",
    "Verification",
    "Wall",
    "WalledModel",
    "dead_cells",
    "insert_wall",
    "inserted_wall",
    "paper_twins",
    "paper_wall",
    "paper_widths",
    "scored_zone",
    "split_trunk",
    "verify_zone",
]
