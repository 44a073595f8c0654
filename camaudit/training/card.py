"""The model card: what was trained, on what, how well, and what it must not be used for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from camaudit.report.figures import UNDEFINED, defined, percent, quantity, whole

__all__ = ["card"]


def card(content: Mapping[str, Any]) -> str:
    """The card in Markdown of a network that `content` (`model.json`) describes."""
    training = content["training"]
    parts = [
        f"# {_text(content['name'])}",
        _purpose(content),
        *([_WARNING] if training["permute_labels"] else []),
        "## Results",
        _results(content["result"]),
        "## The wall",
        _wall(content),
        "## Training",
        _training(content),
        "## Use",
        _use(content),
        "## Limits",
        _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


_WARNING = (
    "**The training labels were permuted at random: this network has learnt nothing of the images' "
    "classes, on purpose. It serves the data randomisation test of saliency maps alone.**"
)
_LIMITS = (
    "A research subject for checking saliency methods, not a classifier for use: it is trained on "
    "one data set, without a search for good settings, and its accuracy is that of one seed on one "
    "validation set. The licence of the training images applies to what may be done with the "
    "weights."
)


def _purpose(content: Mapping[str, Any]) -> str:
    seen = (
        "It cannot see a part of its images, by construction, so a saliency map that shows "
        "evidence there is wrong."
        if content["network"]["masked"]
        else "It is the unmasked twin of a network with a wall: the same data, order and initial "
        "weights, and nothing hidden."
    )
    return (
        f"An image classifier of {len(content['classes'])} classes, trained with camaudit. {seen}"
    )


def _results(result: Mapping[str, Any]) -> str:
    rows = [
        ("validation top-1", _percent(result["val_top1"])),
        ("validation top-5", _percent(result["val_top5"])),
        ("validation loss", quantity(result["val_loss"])),
        ("training top-1, augmented, last epoch", _percent(result["train_top1"])),
        ("training loss, last epoch", quantity(result["train_loss"])),
    ]
    return "| Figure | Value |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows)


def _percent(value: float | None) -> str:
    return percent(value) if defined(value) else UNDEFINED


def _wall(content: Mapping[str, Any]) -> str:
    wall, zone = content["wall"], content["wall"]["zone"]
    layer = f"the target layer `{content['layer']}`"
    rows = f"{wall['live_rows']} of {wall['rows']} rows"
    if not content["network"]["masked"]:
        return f"None. Its twin reads only the first {rows} of {layer}."
    lines = [
        f"Only the first {rows} of {layer} are read further on.",
        _text(zone["why"][:1].upper() + zone["why"][1:]),
    ]
    if zone["pixel_fraction"] > 0:
        lines.append(
            f"Dead pixels: {percent(zone['pixel_fraction'])} of the image; a uniform map has "
            f"{percent(zone['scored_fraction'])} of its mass in the scored zone."
        )
    checked = zone["verification"]
    if checked is not None:
        equal = "bit-equal" if checked["bit_equal"] else "equal within the stated bound"
        lines.append(
            f"Verified after training: logits were {equal} under {checked['perturbations']} "
            "changes of the dead pixels, and changed with the live ones."
        )
    leaks = content["result"]["leaks"]
    if content["network"]["wall"] == "weights":
        lines.append(
            f"The mask was applied again after every step; {leaks} weights of dead features had "
            "moved before that."
        )
    return "\n".join(f"- {line}" for line in lines)


def _training(content: Mapping[str, Any]) -> str:
    training, network = content["training"], content["network"]
    made = training["recipe"]
    crops = {"area": "random crops of 10-100 % of the area", "shift": "random shifts of up to 1/16",
             "none": "no crop"}  # fmt: skip
    lines = [
        f"Data: {_text(training['data']['name'])} ({training['data']['kind']}), "
        f"{whole(training['images']['train'])} images for training and "
        f"{whole(training['images']['validation'])} for validation, {content['size'][0]}×"
        f"{content['size'][1]} pixels, standardised by `{content['preprocess']}`.",
        f"Network: `{network['network']}`, seed {training['seed']}.",
        f"Recipe: preset `{training['preset']}`, {made['epochs']} epochs in batches of "
        f"{made['batch_size']}, {made['optimiser']} at {quantity(made['lr'])} "
        f"({made['schedule']} schedule), weight decay {quantity(made['weight_decay'])}, "
        f"{crops[made['crop']]}, {'flips' if made['flip'] else 'no flips'}.",
        *map(_text, training["notes"]),
        f"Training and validating took {content['result']['seconds']:.0f} s.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _use(content: Mapping[str, Any]) -> str:
    audit = (
        "```sh\n"
        "camaudit run --model trained:FOLDER --data DATASET  # FOLDER: this file's folder\n"
        "```\n\n"
        if content["network"]["masked"]
        else ""
    )
    return (
        f"{audit}```python\n"
        "from pathlib import Path\n"
        "from camaudit.training.trained import load_trained\n\n"
        'trained = load_trained(Path("FOLDER"))  # this file\'s folder\n'
        "```\n\n"
        f"The weights' SHA-256 is `{content['weights_sha256']}`."
    )


def _text(text: str) -> str:
    """Text that Markdown takes as it stands, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))
