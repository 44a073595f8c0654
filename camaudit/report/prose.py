"""The report's standing text: what the figures mean, what they prove and what they do not."""

from __future__ import annotations

from dataclasses import dataclass

from camaudit.report import figures

__all__ = ["Paragraph", "does_not_show", "reading", "shows"]

SMALL_SAMPLE = 30


@dataclass(frozen=True)
class Paragraph:
    """A claim in one sentence, and what stands behind it."""

    claim: str
    detail: str


def reading(uniform: float | None, uniform_l2: float | None) -> tuple[Paragraph, ...]:
    """How to read the figures; `uniform` and `uniform_l2` are a flat map's μ."""
    return (
        Paragraph(
            "μ is the share of a map that lies in the dead zone.",
            "The headline divides the L1 norm inside the scored zone by the L1 norm of the whole "
            "raw map. The L2 share weighs peaks more. The min-max share is taken after the usual "
            "rescaling to 0…1, because that is the picture people look at; the rescaling "
            "subtracts the minimum, and so moves mass.",
        ),
        Paragraph(
            "The uniform line is the yardstick.",
            f"A flat map knows nothing of the network and scores {figures.percent(uniform)} (L1), "
            f"which is the zone's share of the image area, and {figures.percent(uniform_l2)} "
            "(L2). At the line, a method avoids the dead zone no better than a blank sheet; "
            "beyond it, the method favours the one region that cannot matter.",
        ),
        Paragraph(
            "The unmasked twin is the same network without the wall.",
            "There the region is visible and may rightly be highlighted. The difference, walled "
            "minus unmasked, is paired image by image: a negative value means that the method "
            "noticed the wall, a value near 0 that it drew much the same map either way.",
        ),
        Paragraph(
            "Undefined is not zero.",
            "A map that is zero everywhere or not finite has no share of anything. Such maps are "
            "counted as degenerate and enter no mean, no interval and no verdict.",
        ),
    )


def shows(*, verified: bool, bit_equal: bool) -> tuple[Paragraph, ...]:
    """What a figure above 0 proves; weaker where the zone was not verified."""
    equal = "equal to the last bit" if bit_equal else "as it was, within the stated bound"
    ground = (
        f"Changing these pixels left every logit {equal}, and the wall explains why."
        if verified
        else "The wall implies that these pixels cannot reach the logits, but this run did not "
        "verify it by changing them, so the proof is incomplete."
    )
    return (
        Paragraph(
            "A highlighted pixel of the dead zone cannot have influenced the decision.",
            f"{ground} Where a map claims otherwise, it is wrong about this walled network, "
            "whatever it looks like and whoever looks at it.",
        ),
        Paragraph(
            "Interpolation is no excuse.",
            "The scored zone holds only pixels whose interpolated value comes from dead cells "
            "alone. Blur across the border of the wall is not charged, so a map that respects "
            "the wall reaches exactly 0.",
        ),
    )


def does_not_show(*, images: int, split_trunk: bool) -> tuple[Paragraph, ...]:
    """The limits of the test, for a run over `images` images."""
    return (
        Paragraph(
            "It does not prove that a method with μ = 0 is faithful.",
            "Such a method put nothing where nothing could be true. The rest of its map may "
            "still be wrong, and this test cannot tell.",
        ),
        Paragraph(
            "It does not measure the original network directly.",
            "The proof holds for the walled network. In the original no pixel is known to be "
            "irrelevant; that a method fails here makes its maps there doubtful, not refuted.",
        ),
        _wall_changes_model(split_trunk=split_trunk),
        Paragraph(
            "It does not measure strength.",
            "μ is a ratio within one map. A faint map and a vivid one with the same proportions "
            "score the same, and a flat map scores the area fraction whatever its level.",
        ),
        _sampling(images),
    )


def _wall_changes_model(*, split_trunk: bool) -> Paragraph:
    detail = (
        "With a split trunk the live cells are computed from a crop of the image, so cells near "
        "the border see padding where they used to see picture. "
        if split_trunk
        else "Decisions are taken from the live part alone. "
    )
    return Paragraph(
        "The wall changes the model.",
        f"{detail}Compare the accuracy with and without the wall before carrying a conclusion "
        "over: the closer the two, the more alike the networks.",
    )


def _sampling(images: int) -> Paragraph:
    size = figures.counted(images, "image")
    small = images < SMALL_SAMPLE
    return Paragraph(
        f"It does not rank methods more finely than {size} allow{'s' if images == 1 else ''}.",
        "The intervals are 95 % bootstrap intervals over images; they say nothing about other "
        "networks, layers or walls. "
        + ("With so few images they are too narrow. " if small else "")
        + "Methods on the same images are compared by their paired differences, not by whether "
        "their intervals overlap.",
    )
