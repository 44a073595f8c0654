"""The walls paper's prompt, and what a chat model is asked in order to refine it."""

from __future__ import annotations

__all__ = ["PROMPT", "refinement", "stacked_prompt"]

PROMPT = "A photo of {name} stacked on top of {name}."
"""As printed in the paper (section 3, STACK-GEN), without articles before the names."""

_REFINEMENT = (
    "Rewrite the prompt below into a better one for a text-to-image model. Keep its meaning: a "
    "photograph of exactly two subjects of the class that is named, one directly on top of the "
    "other. Ask for a realistic photo, both subjects whole and sharp, filling the frame, little "
    "background, a clear boundary between the upper and the lower one, no text, no border, no "
    "third subject. Answer with the new prompt alone: one paragraph of at most 80 words, without "
    "quotation marks.\n\nPrompt: {prompt}"
)


def refinement(prompt: str) -> str:
    """The message to a chat model that asks for a better prompt of the same meaning."""
    return _REFINEMENT.replace("{prompt}", prompt)


def stacked_prompt(name: str) -> str:
    """The prompt for a class; underscores of folder names are spaces.

    >>> stacked_prompt("great_white_shark")
    'A photo of great white shark stacked on top of great white shark.'
    """
    return PROMPT.replace("{name}", " ".join(name.replace("_", " ").split()))
