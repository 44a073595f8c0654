"""Registry names and family names as a reader knows them from the literature."""

from __future__ import annotations

__all__ = ["title"]

_TITLES = {
    "ablationcam": "AblationCAM",
    "augmentedgradcam++": "Augmented GradCAM++",
    "cam": "CAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "elementwise": "GradCAM-ElementWise",
    "fem": "FEM",
    "finercam": "FinerCAM",
    "fullgrad": "FullGrad",
    "gaussian": "Centred Gaussian",
    "gradcam": "GradCAM",
    "gradcam++": "GradCAM++",
    "groupcam": "Group-CAM",
    "gscorecam": "gScoreCAM",
    "hirescam": "HiResCAM",
    "iscam": "IS-CAM",
    "kpcacam": "KPCA-CAM",
    "lafam": "LaFAM",
    "layercam": "LayerCAM",
    "liftcam": "LIFT-CAM",
    "opticam": "Opti-CAM",
    "polycam": "PolyCAM",
    "random": "Random",
    "reciprocam": "ReciproCAM",
    "reciprocam-gaussian": "ReciproCAM (Gaussian)",
    "refinecam": "RefineCAM",
    "rise": "RISE",
    "scorecam": "ScoreCAM",
    "scorecam++": "ScoreCAM++",
    "segeigencam": "SegEigenCAM",
    "shapleycam": "ShapleyCAM",
    "smoothgradcam++": "SmoothGradCAM++",
    "sobel": "Sobel edges",
    "sscam": "SS-CAM",
    "uniform": "Uniform",
    "xgradcam": "XGradCAM",
}


def title(name: str) -> str:
    """The usual spelling of a method's registry name; any other name as it is.

    >>> title("eigencam"), title("mycam")
    ('EigenCAM', 'mycam')
    """
    return _TITLES.get(name, name)
