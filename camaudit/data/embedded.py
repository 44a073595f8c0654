"""Embedded photographs: the six that scikit-image's wheel carries, for a demo without downloads.

They are found as files of the installed package; nothing is fetched.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from camaudit.data.folders import Collection, Photo
from camaudit.errors import MissingExtraError

__all__ = ["CREDITS", "embedded_photos"]

_FILES = {
    "astronaut": "astronaut.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "motorcycle_left": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}

CREDITS = {
    "astronaut": "Eileen Collins, NASA Great Images database; public domain",
    "camera": "Lav Varshney; CC0",
    "chelsea": "Stefan van der Walt; CC0",
    "coffee": "Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0",
    "motorcycle_left": "Middlebury 2014 stereo benchmark (Scharstein et al., GCPR 2014), "
    "scaled down by scikit-image; no licence stated",
    "rocket": "SpaceX, launch of DSCOVR; public domain",
}
"""Photographer or source, and licence, as scikit-image's documentation states them."""


def embedded_photos() -> Collection:
    """The photographs as a collection of six classes with one image each.

    The class names (`chelsea`, `coffee`, ...) are no ImageNet labels, so these images have no
    label index: what a model sees in them is its own top-1.

    Raises:
        MissingExtraError: if scikit-image is not installed, or came without its photographs.
    """
    folder = _data_folder()
    photos = [
        Photo(name, folder / file, name, f"{name}: {CREDITS[name]}")
        for name, file in _FILES.items()
    ]
    missing = [photo.path.name for photo in photos if not photo.path.is_file()]
    if missing:
        raise MissingExtraError(
            f"this scikit-image came without {', '.join(missing)}; install its wheel: "
            'pip install --force-reinstall "camaudit[demo]"'
        )
    return Collection.of(folder, photos)


def _data_folder() -> Path:
    """Where the installed scikit-image keeps its photographs."""
    try:
        return Path(str(files("skimage"))) / "data"
    except ImportError as error:
        raise MissingExtraError(
            "the embedded photographs come with scikit-image, which is not installed; "
            'install it with: pip install "camaudit[demo]"'
        ) from error
