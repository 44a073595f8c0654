"""The walls paper's prompt, and what a chat model is asked in order to refine it."""

from __future__ import annotations

__all__ = ["PROMPT", "REFINEMENT", "stacked_prompt"]

PROMPT = "A photo of {name} stacked on top of {name}."
"""As printed in the paper (section 3, STACK-GEN), without articles before the names."""

REFINEMENT = (
    "You turn a short prompt into a better one for a text-to-image model. Keep its meaning: a "
    "photograph that shows exactly two subjects, both of the class that is named, one directly "
    "above the other. Ask for a realistic photo, both subjects seen whole and sharp, filling the "
    "frame, little background, a clear boundary between the upper and the lower one, no text, no "
    "frame, no third subject. Answer with the new prompt alone, in one paragraph of at most 80 "
    "words, without quotation marks."
)
"""The system message for a chat model; the prompt is the user's message."""


def stacked_prompt(name: str) -> str:
    """The prompt for a class; underscores of folder names are spaces.

    >>> stacked_prompt("great_white_shark")
    'A photo of great white shark stacked on top of great white shark.'
    """
    return PROMPT.replace("{name}", " ".join(name.replace("_", " ").split()))
