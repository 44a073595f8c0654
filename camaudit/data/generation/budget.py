"""What may be spent, and what was: a request that could exceed the cap is never sent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from camaudit.errors import BudgetError, UsageError

__all__ = ["Budget", "Spending", "amount"]


@dataclass(frozen=True)
class Spending:
    """What was spent in a folder, earlier runs included.

    `paid` requests for pictures were answered, `unsure` ones ended without an answer, so that
    nobody here knows whether they are on the bill; `money` counts both, and refined prompts.
    """

    paid: int = 0
    unsure: int = 0
    money: Decimal = Decimal(0)

    def __str__(self) -> str:
        unsure = f" and {self.unsure} that may have been paid for" if self.unsure else ""
        return f"{self.paid} images paid for{unsure}"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Caps on images and on money; None for no cap. Requests that may be paid for count."""

    max_images: int | None = None
    money: Decimal | None = None

    def check(self, spent: Spending, *, images: int, price: Decimal) -> None:
        """Raise :class:`BudgetError` if one more request, of so many images, could exceed a cap."""
        count = spent.paid + spent.unsure + images
        if images and self.max_images is not None and count > self.max_images:
            raise BudgetError(
                f"the next image would exceed --max-images {self.max_images}: so far {spent}, "
                f"earlier runs included{_unsure(spent)}; what is finished is kept: give the same "
                "command with a higher cap"
            )
        if self.money is not None and spent.money + price > self.money:
            raise BudgetError(
                f"the next request, at {price:f}, would exceed --budget {self.money:f}: so far "
                f"{spent.money:f} for {spent}, earlier runs included{_unsure(spent)}; what is "
                "finished is kept: give the same command with a higher budget"
            )


def amount(text: str, option: str) -> Decimal:
    """An exact amount of money, 0 or more.

    Raises :class:`UsageError`, naming the option, for anything else.

    >>> amount("0.04", "--price") * 3
    Decimal('0.12')
    """
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or not 0 <= value < 10**9:
        raise UsageError(f"{option}: expected an amount such as 0.04, 0 or more; got {text!r:.60}")
    return value


def _unsure(spent: Spending) -> str:
    if not spent.unsure:
        return ""
    return " (see the provider's bill for those without an answer)"
