"""Registry names and family names as a reader knows them from the literature."""

from __future__ import annotations

__all__ = ["title"]

_TITLES = {
    "ablationcam": "AblationCAM",
    "cam": "CAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "elementwise": "GradCAM-ElementWise",
    "fullgrad": "FullGrad",
    "gaussian": "Centred Gaussian",
    "gradcam": "GradCAM",
    "gradcam++": "GradCAM++",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "random": "Random",
    "reciprocam": "ReciproCAM",
    "scorecam": "ScoreCAM",
    "scorecam++": "ScoreCAM++",
    "smoothgradcam++": "SmoothGradCAM++",
    "sobel": "Sobel edges",
    "uniform": "Uniform",
    "xgradcam": "XGradCAM",
}


def title(name: str) -> str:
    """The usual spelling of a method's registry name; any other name as it is.

    >>> title("eigencam"), title("mycam")
    ('EigenCAM', 'mycam')
    """
    return _TITLES.get(name, name)
