"""Caps hold exactly, before the request."""

from __future__ import annotations

from decimal import Decimal

import pytest

from camaudit.data.generation.budget import Budget, Spending, amount
from camaudit.errors import BudgetError, UsageError


def test_no_cap_never_stops() -> None:
    Budget().check(Spending(10**6, 5, Decimal(10**8)), images=1, price=Decimal(1))


def test_the_cap_on_images_counts_those_that_may_have_been_paid() -> None:
    budget = Budget(max_images=3)
    budget.check(Spending(1, 1), images=1, price=Decimal(0))
    with pytest.raises(BudgetError, match="2 images paid for and 1 that may have been paid for"):
        budget.check(Spending(2, 1), images=1, price=Decimal(0))
    budget.check(Spending(2, 1), images=0, price=Decimal(0))  # a prompt is no image


def test_money_is_exact() -> None:
    budget, price = Budget(money=amount("0.30", "--budget")), amount("0.1", "--price")
    budget.check(Spending(2, 0, 2 * price), images=1, price=price)  # 0.1 + 0.1 + 0.1 is 0.3
    with pytest.raises(BudgetError, match=r"at 0.1, would exceed --budget 0.30: so far 0.3 for 3"):
        budget.check(Spending(3, 0, 3 * price), images=1, price=price)


@pytest.mark.parametrize("text", ["", "four", "-0.01", "NaN", "Infinity", "1e99", "0,04"])
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--price: expected an amount such"):
        amount(text, "--price")
