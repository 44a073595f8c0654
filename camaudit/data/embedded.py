"""Embedded photographs: six of scikit-image's wheel and two of scikit-learn's, without downloads.

They are found as files of the installed package; nothing is fetched.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from camaudit.data.folders import Collection, Photo
from camaudit.errors import MissingExtraError

__all__ = ["CREDITS", "eight_photos", "embedded_photos"]

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


_MORE = {
    "china": ("china.jpg", "danielbuechele (Flickr), as scikit-learn carries it; CC BY 2.0"),
    "flower": ("flower.jpg", "vultilion (Flickr), as scikit-learn carries it; CC BY 2.0"),
}


def eight_photos() -> Collection:
    """:func:`embedded_photos` and the two photographs of scikit-learn, without classes.

    Raises:
        MissingExtraError: if either library is not installed, or came without its photographs.
    """
    try:
        folder = Path(str(files("sklearn"))) / "datasets" / "images"
    except ImportError as error:
        raise MissingExtraError(
            "two photographs come with scikit-learn, which is not installed; "
            'install it with: pip install "camaudit[demo]"'
        ) from error
    photos = [replace(photo, label_name=None) for photo in embedded_photos().photos]
    for name, (file, credit) in _MORE.items():
        if not (folder / file).is_file():
            raise MissingExtraError(
                f"this scikit-learn came without {file}; install its wheel: "
                'pip install --force-reinstall "camaudit[demo]"'
            )
        photos.append(Photo(name, folder / file, None, f"{name}: {credit}"))
    return Collection.of(folder, photos)


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
