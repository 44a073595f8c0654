"""`python -m tests.invariance`: writes what it measures into docs/conformance.md.

With `--own` it measures the last column alone, beside few drawn networks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from camaudit.invariance import Conformance
from tests.invariance.claims import CLAIMS, Claim
from tests.invariance.table import measured, parts, resnet, with_own

DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"
EXAMPLES = 20
FEW = 3  #: with `--own`


def put(text: str, name: str, part: str) -> str:
    """The text with what stands between the markers of `name` replaced."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->\n"
    before, rest = text.split(begin)
    return before + begin + part + "\n" + end + rest.split(end)[1]


def measure(claims: Sequence[Claim], examples: int) -> list[Conformance]:
    """What becomes of the claims, told one by one."""
    torch.set_num_threads(1)  # networks this small are slower on many
    own, found = resnet(), []
    for claim in claims:
        found.append(measured(claim, examples, own))
        print(f"{claim.label}: {found[-1].outcome}, {found[-1].seconds:.0f} s", flush=True)
    return found


def main(arguments: Sequence[str]) -> None:
    text = DOCS.read_text()
    if "--own" in arguments:
        text = with_own(text, CLAIMS, measure(CLAIMS, FEW))
    else:
        for name, part in parts(measure(CLAIMS, EXAMPLES)).items():
            text = put(text, name, part)
    DOCS.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
