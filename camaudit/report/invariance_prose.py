"""The invariance check's standing text: how to read it, what it shows and what it does not."""

from __future__ import annotations

from camaudit.report.prose import Paragraph

__all__ = ["limits", "reading"]


def reading(*, conformance: bool) -> tuple[Paragraph, ...]:
    """How to read the findings, and the comparisons where there are any."""
    paragraphs = [
        Paragraph(
            "A property says what must follow from a change.",
            "The network, the image or the call is changed in a way whose effect on the map is "
            "known: none at all, a flip, a factor. No reference map is needed; the explainer's two "
            "answers are held against each other.",
        ),
        Paragraph(
            "Violated by definition is a limitation, not a bug.",
            "Some methods break a property because their formula does. That is published with its "
            "reason, and an example of it is expected. Where none comes the violation is not "
            "confirmed: either too few examples were drawn, or the explainer is not the method "
            "that it claims to be.",
        ),
        Paragraph(
            "Examples count only where they say something.",
            "Maps that are zero or constant are equal to anything; an image whose map moves as far "
            "by rounding alone refutes nothing. Both are counted apart, as are examples that the "
            "property does not apply to.",
        ),
        Paragraph(
            "A counterexample is the smallest that was found.",
            "Networks are drawn at random, and once one of them breaks a property it is reduced, "
            "toward one convolution, one channel and one pixel, as long as it still does. The "
            "code repeats it by itself.",
        ),
        Paragraph(
            "The tolerance is part of the property.",
            "It is 0 where the same operations are done on the same numbers. Elsewhere it leaves "
            "room for rounding only, and its reason stands beside it.",
        ),
        Paragraph(
            "A fault is not a bug in the mathematics.",
            "An exception, NaN, a wrong shape or too long a wait leaves nothing to compare. The "
            "explainer's own traceback is kept, and the run goes on.",
        ),
    ]
    if conformance:
        paragraphs.append(
            Paragraph(
                "Conformance asks whether an explainer is what it claims to be.",
                "Its maps are compared with those of the method itself. Equal up to "
                "post-processing means that one named step, such as rescaling to 0…1, explains "
                "the whole difference. Difference and correlation are those of the worst example.",
            )
        )
    return tuple(paragraphs)


def limits(*, own: bool, conformance: bool) -> tuple[Paragraph, ...]:
    """The known limits; `own`: whether the audited model was tested too."""
    paragraphs = [
        Paragraph(
            "What holds on many networks is not proven.",
            "A search finds bugs; it does not show that there are none. A property that holds on "
            "thousands of drawn networks may fail on the next.",
        ),
        Paragraph(
            "Drawn networks are small.",
            "They have a few layers and a few channels. What shows only in deep "
            "networks, in half precision, on an accelerator or with large images does not show "
            "here.",
        ),
        Paragraph(
            "Necessary, not sufficient.",
            "An explainer may keep every property and still be wrong about the model: one that "
            "looks at the image alone keeps most of them. Invariance rules out faults, it does not "
            "certify faithfulness.",
        ),
        Paragraph(
            "Properties are not independent.",
            "One mistake may break several of them, so the number of bugs is that of properties "
            "broken, not of mistakes made.",
        ),
    ]
    if own:
        paragraphs.append(
            Paragraph(
                "The audited model is one model.",
                "On it only those changes are tested that are exact for any network, on the "
                "images of this run and the one target layer.",
            )
        )
    if conformance:
        paragraphs.append(
            Paragraph(
                "A difference does not say who is right.",
                "The method compared with is one implementation of the published formula. Where a "
                "paper leaves a choice open, two faithful implementations may differ.",
            )
        )
    return tuple(paragraphs)
