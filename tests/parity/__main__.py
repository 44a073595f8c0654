"""`python -m tests.parity`: the table of the README, and after it every difference explained."""

from __future__ import annotations

import torch

from tests.parity.table import block, explanations


def main() -> None:
    torch.set_num_threads(1)  # networks this small are slower on many
    print(block(measured=True))
    print(explanations(), end="")


if __name__ == "__main__":
    main()
