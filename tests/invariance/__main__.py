"""`python -m tests.invariance`: writes what it measures into docs/conformance.md."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.invariance.claims import CLAIMS
from tests.invariance.table import measured, parts, resnet

DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"
EXAMPLES = 20


def put(text: str, name: str, part: str) -> str:
    """The text with what stands between the markers of `name` replaced."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->\n"
    before, rest = text.split(begin)
    return before + begin + part + "\n" + end + rest.split(end)[1]


def main() -> None:
    torch.set_num_threads(1)  # networks this small are slower on many
    own, found = resnet(), []
    for claim in CLAIMS:
        found.append(measured(claim, EXAMPLES, own))
        print(f"{claim.label}: {found[-1].outcome}, {found[-1].seconds:.0f} s", flush=True)
    text = DOCS.read_text()
    for name, part in parts(found).items():
        text = put(text, name, part)
    DOCS.write_text(text)


if __name__ == "__main__":
    main()
