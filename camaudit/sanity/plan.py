"""What a run of the sanity checks does to a model, as plain values: its layers and their steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from camaudit.sanity.cascade import ORDERS, Cascade, OrderName
from camaudit.sanity.outcomes import Remark, Step
from camaudit.types import plain

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """The target layer, the layers in execution order, the steps of every order, and remarks.

    proven: whether parts of the model may stand for the whole, see
    :class:`camaudit.sanity.suffix.Suffix`. `remarks` are those that are known before any state.
    """

    layer: str
    layers: tuple[str, ...]
    steps: Mapping[OrderName, tuple[Step, ...]]
    remarks: tuple[Remark, ...]
    proven: bool

    @staticmethod
    def of(cascade: Cascade) -> Plan:
        """That of a cascade of which no state was asked for yet."""
        return Plan(
            layer=cascade.cut.layer,
            layers=tuple(found.name for found in cascade.order.layers),
            steps={order: cascade.steps(order) for order in ORDERS},
            remarks=cascade.remarks,
            proven=cascade.suffix.broken is None,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of all but the remarks: what the maps of random models depend on."""
        known = json.dumps({**self.to_dict(), "remarks": None}, sort_keys=True)
        return hashlib.sha256(known.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, read back by :meth:`from_dict`."""
        found: dict[str, Any] = plain(asdict(self))
        return {**found, "remarks": [[one.reason, one.layer] for one in self.remarks]}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Plan:
        """The plan that :meth:`to_dict` wrote."""
        steps = {order: tuple(Step(**step) for step in values["steps"][order]) for order in ORDERS}
        return Plan(
            values["layer"],
            tuple(values["layers"]),
            steps,
            tuple(Remark(reason, layer=layer) for reason, layer in values["remarks"]),
            bool(values["proven"]),
        )
