"""The sanity checks' standing text: how to read them, what they show and what they do not."""

from __future__ import annotations

from collections.abc import Collection

from camaudit.report.prose import Paragraph

__all__ = ["CASCADE_LEADS", "limits", "reading"]

CASCADE_LEADS = {
    "mprt": "Maps of the trained model against maps of the same model with random weights, for the "
    "same images and classes. A method that explains what the model has learnt has to draw "
    "something else once that is lost.",
    "smprt": "The same with maps averaged over noisy copies of each image, which takes the "
    "method's own noise out of the comparison.",
}


def reading(checks: Collection[str]) -> tuple[Paragraph, ...]:
    """How to read the figures of those checks."""
    cascade = (
        Paragraph(
            "The null is what two random models have in common.",
            "The image alone makes maps alike: its edges stay where they are. So a similarity "
            "is not held against 0 but against that of the maps of two models which are both "
            "wholly random. At the null, nothing of the trained weights is left in the map.",
        ),
        Paragraph(
            "The trained model's own point enters no mean.",
            "A map compared with itself has similarity 1. The point is drawn as the start of "
            "the curve and counts nowhere.",
        ),
        Paragraph(
            "Unchanged by construction is not a score.",
            "A method that reads only the target layer's activations cannot notice that layers "
            "after it are random. Its similarity of 1 there says nothing of the method, so "
            "those steps are marked and left out. A control that looks at the image alone is "
            "scored: that it stays at 1 is the finding.",
        ),
        Paragraph(
            "Intervals count seeds and images.",
            "The 95 % intervals draw both again, seeds and images crossed; with fewer than six "
            "of either there is none. The thin lines are single seeds, each averaged over the "
            "images.",
        ),
    )
    similarities = Paragraph(
        "The similarities ask different questions.",
        "Spearman compares the ranking of the pixels, its variant for absolute values the "
        "ranking without signs, SSIM local structure after rescaling to 0…1, HOG the edges. "
        "All reach 1 for equal maps.",
    )
    undefined = Paragraph(
        "Undefined is not zero.",
        "A map that is constant or not finite resembles nothing. Such cells are counted and enter "
        "no mean and no verdict.",
    )
    shown = cascade if {"mprt", "smprt"} & set(checks) else ()
    return (*shown, similarities, undefined)


def limits(checks: Collection[str]) -> tuple[Paragraph, ...]:
    """The known limits of those checks, with who found them."""
    found = [
        Paragraph(
            "Necessary, not sufficient.",
            "A map that does not change with the weights does not explain them (Adebayo et al. "
            "2018). A map that does change may still be wrong: random maps pass.",
        )
    ]
    if {"mprt", "smprt", "emprt"} & set(checks):
        found += [
            Paragraph(
                "The order of the layers matters.",
                "Randomised from the logits down, a model keeps its trained early layers, and "
                "much of what the image was goes on through them. Binder et al. 2023 show that "
                "similarity along this cascade therefore favours methods whose maps are noisy. "
                "The other orders, where they were run, stand beside it.",
            ),
            Paragraph(
                "Normalisation matters.",
                "Rescaling a map to 0…1, as SSIM and HOG need it, and dropping its sign change "
                "the similarity and can change the ranking of methods (Binder et al. 2023, "
                "Hedström et al. 2024). Hence several similarities, raw maps for Spearman, and "
                "no single score.",
            ),
            Paragraph(
                "Noise looks like sensitivity.",
                "A map that differs from run to run falls to the null at once, whatever it "
                "explains. Averaging over noisy inputs (sMPRT) and asking for complexity instead "
                "of similarity (eMPRT) are Hedström et al.'s remedies, and have limits of their "
                "own.",
            ),
        ]
    if "random-logit" in checks:
        found.append(
            Paragraph(
                "Classes may share their evidence.",
                "Maps of two classes can be alike because the model uses the same pixels for "
                "both. A method that reads nothing of the class is not scored.",
            )
        )
    if "data-randomisation" in checks:
        found.append(
            Paragraph(
                "Two trained models differ in more than their labels.",
                "The second model starts from other weights or runs another course, so maps would "
                "differ to some extent even without permuted labels.",
            )
        )
    return tuple(found)
