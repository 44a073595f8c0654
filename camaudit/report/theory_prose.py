"""The theory page's standing text: what is tested, how to read it, what it does not show."""

from __future__ import annotations

from camaudit.report.prose import Paragraph

__all__ = ["does_not_show", "reading"]


def reading() -> tuple[Paragraph, ...]:
    """How to read the figures."""
    return (
        Paragraph(
            "The networks are random on purpose.",
            "A network that was never trained has learned nothing about any image. Whatever its "
            "saliency map shows is the doing of the method, the architecture and the pixels. The "
            "wall cuts the head off from a part of the cells, so that nothing there can reach the "
            "logits.",
        ),
        Paragraph(
            "The expectation is taken over networks, never over images.",
            "The image stays, the weights are drawn anew. The theory says that GradCAM's expected "
            "value in a cell is a constant times the norm of the image patch under it: the "
            "constant knows how many cells the head sees, but not which. So a dead cell is lit "
            "as brightly as a live one over the same patch.",
        ),
        Paragraph(
            "The lower bound is the paper's, the closed form is exact.",
            "The bound rests on Chebyshev's inequality and says something only for more than 20 "
            "filters. The closed form sums over the number of active filters instead. The "
            "simulation draws whole networks; where the closed form is right, about 19 of 20 rows "
            "lie within two standard errors of it.",
        ),
        Paragraph(
            "μ is the share of a map that lies in the dead zone.",
            "It is the L1 norm inside the scored zone over the L1 norm of the whole raw map. A "
            "uniform map scores the zone's share of the area, which is the yardstick: at that "
            "line, a method avoids the dead zone no better than a blank sheet. The unmasked twin "
            "is the same network without the wall.",
        ),
        Paragraph(
            "Intervals count networks and images.",
            "Maps of one network resemble each other, and so do maps of one image. The 95 % "
            "intervals of the tables therefore draw both again, seeds and images crossed. With too "
            "few of either there is no interval.",
        ),
        Paragraph(
            "Undefined is not zero, and not applicable is not a pass.",
            "A map that is zero everywhere or not finite has no share of anything; it is counted "
            "and enters no mean. A claim that does not apply here, that the data cannot decide "
            "or that could not be tested is never counted among those that pass.",
        ),
    )


def does_not_show(*, deep: bool) -> tuple[Paragraph, ...]:
    """The limits of the theory, and of the measurements on `deep` networks where there are any."""
    paragraphs = [
        Paragraph(
            "It says nothing about trained networks.",
            "The law holds at initialisation. How a method behaves on a network that was trained "
            "is what an audit of that network measures.",
        ),
        Paragraph(
            "The closed form holds for one convolution.",
            "One convolution without bias, ReLU, and a head of linear layers over max-pooled or "
            "averaged cells, all weights independent and normal. Elsewhere there is no formula, "
            "only measurement.",
        ),
        Paragraph(
            "A passed claim is a passed test, not a proof.",
            "Simulation can contradict a formula, but never prove it. How often a true claim "
            "would fail by chance is stated with the claim.",
        ),
        Paragraph(
            "A method at exactly 0 is not thereby faithful.",
            "It puts nothing where nothing can be true. The rest of its map may still be wrong.",
        ),
    ]
    if deep:
        paragraphs.append(
            Paragraph(
                "A deep random network may hardly look at the image.",
                "Where hardly any of the logits' mean square is variance between images, the "
                "output is almost a constant, and a map explains almost nothing. The share is "
                "given with every network, so that such cases can be told apart.",
            )
        )
    return tuple(paragraphs)
