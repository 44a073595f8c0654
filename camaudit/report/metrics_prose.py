"""The metrics' standing text: how to read them, and what they do not show."""

from __future__ import annotations

from collections.abc import Collection

from camaudit.report.prose import Paragraph

__all__ = ["limits", "reading"]

_MASKED = ("confidence", "adcc", "insertion-deletion", "road")


def reading(checks: Collection[str]) -> tuple[Paragraph, ...]:
    """How to read the figures of those checks."""
    found = [
        Paragraph(
            "An arrow says which way is better.",
            "↑: higher, ↓: lower. A metric without an arrow describes a map and orders nothing.",
        ),
        Paragraph(
            "Best is only what the pairs show.",
            "Methods are compared image by image on the images that both have a value on, with "
            "Holm's correction over all pairs. The means in the tables are over each method's own "
            "images; where these differ, the means may not be set against each other.",
        ),
        Paragraph(
            "Undefined is not zero.",
            "A constant map has no order of pixels and no min-max picture, an image without a "
            "labelled region has nothing to hit. Such images are counted by reason and enter no "
            "mean and no comparison.",
        ),
        Paragraph(
            "A rank has an interval too.",
            "It counts who is shown better and who is shown worse, so with few images it is wide. "
            "The share of resamples in which a method is first is no probability that it is best.",
        ),
    ]
    if "confidence" in checks:
        found.append(
            Paragraph(
                "Win % depends on who competes.",
                "It is the share of images on which a method's drop is the least of its group; "
                "equal drops share the image. Another group gives other figures.",
            )
        )
    return tuple(found)


def limits(checks: Collection[str]) -> tuple[Paragraph, ...]:
    """The known limits of those checks."""
    found = []
    if set(_MASKED) & set(checks):
        found.append(
            Paragraph(
                "Masked images are images the model never saw.",
                "A change of confidence may be due to the mask's edges and to the grey that it "
                "leaves, not to what was taken away (Hooker et al. 2019, Rong et al. 2022).",
            )
        )
    if {"confidence", "adcc"} & set(checks):
        found.append(
            Paragraph(
                "Average Drop rewards large maps.",
                "A map that is bright everywhere drops nothing. Poppi et al. 2021 therefore weigh "
                "it against complexity and coherency in ADCC.",
            )
        )
    if "insertion-deletion" in checks:
        found.append(
            Paragraph(
                "Insertion and deletion see an order, not a map.",
                "They read which pixel comes before which, and nothing of how much brighter it is. "
                "Coarse maps have many ties, whose order is drawn.",
            )
        )
    if "localisation" in checks:
        found.append(
            Paragraph(
                "Localisation asks where the object is, not what the model used.",
                "A model that decides by the background is explained well by a map that misses "
                "the object.",
            )
        )
    found.append(
        Paragraph(
            "No metric here knows the truth.",
            "They ask the model about other images. Only where pixels are known not to matter, as "
            "in a dead zone, is a map known to be wrong.",
        )
    )
    return tuple(found)
