"""What instances have cost: price × time, by category and instance type, from the accepted create until each was gone.

An account is settled whenever its category or price changes and at each scrape, so that the sum is always up to date.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dispatcher.core.model import Instance
from dispatcher.core.settings import Settings
from dispatcher.meters.catalogue import COST
from dispatcher.meters.instruments import Board
from dispatcher.runtime.metrics.categories import category

HOUR_S = 3600.0


@dataclass(slots=True)
class _Account:
    category: str
    type: str
    price: float
    since_s: float


class Cost:
    """One account per instance. Used under the lock of the recorder."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._accounts: dict[str, _Account] = {}

    def follow(self, name: str, instance: Instance | None, settings: Settings, at_s: float) -> None:
        """The instance is like this from now on; None, or one that the cloud has not accepted, costs nothing."""
        held = self._accounts.get(name)
        if instance is None or instance.id is None:
            if held is not None:
                self._settle(self._accounts.pop(name), at_s)
            return
        now_in = category(instance)
        if held is None:
            self._accounts[name] = _Account(now_in, instance.type, _price(instance.type, settings, 0.0), at_s)
        elif held.category != now_in:
            self._settle(held, at_s)
            held.category = now_in

    def reprice(self, instances: Iterable[str], settings: Settings, at_s: float) -> None:
        """New settings: what was used so far costs the old price. A type that is no longer configured keeps its last one."""
        for name in instances:
            held = self._accounts.get(name)
            if held is not None:
                self._settle(held, at_s)
                held.price = _price(held.type, settings, held.price)

    def settle(self, now_s: float) -> None:
        for held in self._accounts.values():
            self._settle(held, now_s)

    def _settle(self, held: _Account, at_s: float) -> None:
        self._board.add(COST, held.category, held.type, by=held.price * max(0.0, at_s - held.since_s) / HOUR_S)
        held.since_s = max(held.since_s, at_s)


def _price(type_name: str, settings: Settings, otherwise: float) -> float:
    offer = settings.instance_types.get(type_name)
    return offer.price if offer is not None else otherwise
