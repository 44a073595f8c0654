"""The seam of a data set, taken from the pixel dead zone of a wall."""

from __future__ import annotations

import torch

from camaudit.audit.inputs import DEFAULT_SIZE
from camaudit.audit.settings import Settings
from camaudit.audit.subject import build_subject
from camaudit.data.manifest import ManifestWall
from camaudit.data.seam import wall_of_rows
from camaudit.errors import WallError
from camaudit.walls import DeadZone, PaperVGG16, paper_wall

__all__ = ["seam_of_wall"]


def seam_of_wall(
    spec: str, *, size: int | None = None, layer: str | None = None, live_rows: int | None = None
) -> tuple[ManifestWall, int]:
    """The dead rows of the wall that `camaudit run` would build, and the size of its images.

    `spec` is `vgg16` (the paper's network; its zone does not depend on the weights), `trained:DIR`
    or a model spec, whose wall is chosen as by ``--wall auto``. `size` None is the network's own,
    224 where it has none. Raises the errors of :func:`camaudit.audit.subject.build_subject`, and
    :class:`WallError` where the zone is not made of whole rows.
    """
    if spec == "vgg16":
        zone = _paper_zone(DEFAULT_SIZE if size is None else size, layer, live_rows)
        live = f"{live_rows or 5} of 14 rows live"
        return _rows(f"the paper's VGG16, {live}", zone), DEFAULT_SIZE
    settings = Settings(model=spec, layer=layer, live_rows=live_rows, image_size=size)
    subject = build_subject(settings)
    wall = subject.description["wall"]
    name, after = subject.description["model"], subject.description["layer"]
    description = f"{name}, {wall['wall']} wall after {after}, {wall['live']} live"
    return _rows(description, subject.walled.zone), subject.size


def _paper_zone(size: int, layer: str | None, live_rows: int | None) -> DeadZone:
    if size != DEFAULT_SIZE or layer is not None:
        raise WallError(
            "the paper's VGG16 reads images of 224×224 pixels and has its wall after layer 29: "
            "leave --image-size and --layer out"
        )
    # the zone is that of the convolutions: a narrow classifier saves 500 MB
    network = PaperVGG16(live_rows=live_rows or 5, hidden=1, num_classes=2, init="default").eval()
    with torch.no_grad():
        return paper_wall(network, torch.zeros(1, 3, size, size)).zone


def _rows(description: str, zone: DeadZone) -> ManifestWall:
    rows, height = zone.pixel_dead_rows, zone.pixel_dead.shape[0]
    if not rows or len(rows) * zone.pixel_dead.shape[1] != int(zone.pixel_dead.sum()):
        raise WallError(
            f"the dead zone of this wall is not made of whole rows ({zone.why}): say where the "
            "seam is with --dead-rows"
        )
    return wall_of_rows(description, rows, height)
