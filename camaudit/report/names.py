"""Methods, sanity checks and similarities as a reader knows them from the literature."""

from __future__ import annotations

__all__ = ["CHECKS", "INVARIANCE", "check_title", "order_title", "similarity_title", "title"]

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

CHECKS = {
    "dead-zone": "Dead zone, with the wall against without it",
    "mprt": "Model parameter randomisation (MPRT)",
    "smprt": "Smooth MPRT (sMPRT)",
    "emprt": "Efficient MPRT (eMPRT)",
    "random-logit": "Random logit",
    "data-randomisation": "Data randomisation",
}

INVARIANCE = "invariance"  # the check that its claims and its timing go by

_ORDERS = {
    "top-down": "From the logits down",
    "bottom-up": "From the input up",
    "independent": "One layer at a time",
    "all": "All layers at once",
}

_SIMILARITIES = {
    "spearman": "Spearman",
    "spearman-abs": "Spearman of absolute values",
    "ssim": "SSIM",
    "hog": "HOG",
    "complexity rise": "Rise in complexity",
}


def title(name: str) -> str:
    """The usual spelling of a method's registry name; any other name as it is.

    >>> title("eigencam"), title("mycam")
    ('EigenCAM', 'mycam')
    """
    return _TITLES.get(name, name)


def check_title(check: str) -> str:
    """The usual name of a sanity check; any other name as it is."""
    return CHECKS.get(check, check)


def order_title(order: str) -> str:
    """The order of a cascade in words; any other name as it is.

    >>> order_title("top-down")
    'From the logits down'
    """
    return _ORDERS.get(order, order)


def similarity_title(similarity: str) -> str:
    """The usual name of a similarity of maps, or of a table's figure; any other as it is."""
    return _SIMILARITIES.get(similarity, similarity)
