"""The account: what exists, who may act, what the limits are, and the one lock around it. ``answer`` is the whole service.

No socket and no thread: a request is a value, an answer is a value, and the time comes from the clock that was handed in.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from tests.fake_azure import errors
from tests.fake_azure.buckets import Throttle, front_door
from tests.fake_azure.errors import BAD_GATEWAY, ArmError, Refused
from tests.fake_azure.faults import AFTER, Mishap, Mishaps
from tests.fake_azure.judge import Judge, Request, find_operation
from tests.fake_azure.knobs import Knobs
from tests.fake_azure.login import Login
from tests.fake_azure.model import Inventory, Machine, Operation
from tests.fake_azure.site import Site

PREFIX = "/subscriptions/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``cut``: the connection breaks instead. ``body`` is JSON or raw bytes; ``takes_s``: how long until it is sent."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    cut: bool = False
    takes_s: float = 0.0


class Hardware(Protocol):
    """What stands behind machines: nothing, or real SSH servers."""

    def start(self, machine: Machine, asked: dict[str, Any], now: float) -> str:
        """Its address."""

    def stop(self, machine: Machine, now: float) -> None:
        """Somebody asks to delete it."""

    def settle(self, machines: dict[str, Machine], now: float) -> None:
        """Switch off what is gone."""


class NoHardware:
    """Addresses, and nobody behind them."""

    def __init__(self) -> None:
        self._count = 0

    def start(self, machine: Machine, asked: dict[str, Any], now: float) -> str:
        self._count += 1
        return f"10.0.{self._count >> 8 & 255}.{self._count & 255}"

    def stop(self, machine: Machine, now: float) -> None:
        return None

    def settle(self, machines: dict[str, Machine], now: float) -> None:
        return None


class Account:
    """One subscription with one login, one region and one resource group of machines. ``now`` is a monotonic clock."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        site: Site | None = None,
        knobs: Knobs | None = None,
        seed: int = 0,
        hardware: Hardware | None = None,
        epoch: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    ) -> None:
        self.now = now
        self.site = Site() if site is None else site
        self.knobs = Knobs() if knobs is None else knobs
        self.random = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.inventory = Inventory()
        self.judge = Judge()
        self.throttle = Throttle(self.knobs.limits)
        self.mishaps = Mishaps(self.random, self.faults)
        self.login = Login(self.site, lambda: self.knobs, now)
        self.forbidden: set[str] = set()  # operations that this login may not do
        self.base_url = "https://localhost"
        self.lock = threading.RLock()
        self.hardware: Hardware = NoHardware() if hardware is None else hardware
        self._asked: dict[str, Any] = {}
        self._epoch, self._begun_s = epoch, now()

    # ---------------------------------------------------------------------------------------------------- for its rooms

    def happens(self, what: str, rate: float) -> bool:
        if self.random.random() >= rate:
            return False
        self.faults[what] += 1
        return True

    def stamp(self, at_s: float) -> str:
        """A time as the service writes it."""
        return (self._epoch + timedelta(seconds=at_s - self._begun_s)).isoformat().replace("+00:00", "Z")

    def new_operation(self, target: str, now: float, ends_s: float) -> Operation:
        made = Operation(id=str(uuid.UUID(int=self.random.getrandbits(128))), target=target, started_s=now, ends_s=ends_s)
        self.inventory.operations[made.id] = made
        return made

    def new_address(self, machine: Machine) -> str:
        return self.hardware.start(machine, self._asked, self.now())

    # --------------------------------------------------------------------------------------------------------- for tests

    def machines(self) -> list[Machine]:
        """The truth, whatever a list says."""
        with self.lock:
            return [machine for machine in self.inventory.machines.values() if machine.exists(self.now())]

    def left(self) -> list[str]:
        """The ids of everything that still exists."""
        with self.lock:
            return self.inventory.left(self.now())

    def settle(self) -> None:
        """Let what is due happen: machines that are gone stop answering."""
        with self.lock:
            self.hardware.settle(self.inventory.machines, self.now())
            self.inventory.forget(self.now() - 60)

    # ------------------------------------------------------------------------------------------------------------- answer

    def answer(self, request: Request) -> Answer:
        """``request.path`` begins with /subscriptions/."""
        with self.lock:
            self.settle()
            try:
                answer = self._answer(request, self.now())
            except ArmError as error:
                answer = refusal(error.refused)
            self.statuses[answer.status] += 1
        return answer

    def _answer(self, request: Request, now: float) -> Answer:
        self.login.check(request.headers.get("authorization", ""), now)
        subscription, _, rest = request.path.removeprefix(PREFIX).partition("/")
        if subscription.lower() != self.site.subscription:
            raise ArmError(errors.no_subscription(subscription))
        found = find_operation(request.method, f"/{rest}")
        if found is None:
            self.judge.record(request.method, [f"no such operation: {request.method} {request.path}"])
            raise ArmError(errors.no_route(request.method, request.path))
        operation, parts = found
        self.calls[operation.name] += 1
        machine = parts.get("name", "") if "virtualMachines" in operation.path or operation.name == "get operation" else ""
        verdict = self.throttle.take(now, request.method, operation.name, region=self.site.location, machine=machine)
        if verdict.refused is not None:
            raise ArmError(verdict.refused)
        if texts := self.judge.judge(operation, parts, request):
            raise ArmError(errors.bad_request(texts))
        if operation.name in self.forbidden:
            raise ArmError(errors.forbidden(operation.name))
        mishap = self.mishaps.draw(operation.name, self.knobs)
        return self._carry_out(operation.name, parts, request, mishap, verdict.headers, now)

    def _carry_out(
        self, name: str, parts: dict[str, str], request: Request, mishap: Mishap | None, headers: dict[str, str], now: float
    ) -> Answer:
        if mishap is not None and mishap not in (*AFTER, Mishap.SLOW):
            return _before(mishap, request.method)
        from tests.fake_azure.handlers import HANDLERS  # here, because handlers speak of accounts

        self._asked = request.body
        if parts.get("group", self.site.group).lower() not in (self.site.group.lower(), self.site.network_group.lower()):
            raise ArmError(errors.no_group(parts["group"]))
        try:
            answer = HANDLERS[name](self, parts, request, now)
        except ArmError as error:
            answer = refusal(error.refused)
        if mishap in AFTER:
            return _after(mishap)
        slow_s = self.random.uniform(0, self.knobs.max_slow_s) if mishap is Mishap.SLOW else 0.0
        takes_s = self.knobs.answer_takes_s + slow_s
        return Answer(status=answer.status, headers={**headers, **answer.headers}, body=answer.body, takes_s=takes_s)


def refusal(refused: Refused) -> Answer:
    return Answer(status=refused.status, headers={"x-ms-failure-cause": "service", **refused.headers}, body=refused.body())


def _before(mishap: Mishap, method: str) -> Answer:
    if mishap is Mishap.THROTTLED:
        return refusal(errors.front_door_throttled(front_door(method), 1))
    if mishap is Mishap.BUSY:
        return refusal(errors.busy())
    if mishap is Mishap.INTERNAL:
        return refusal(errors.internal())
    return _after(mishap)


def _after(mishap: Mishap | None) -> Answer:
    """Nothing but a broken connection, or a page of some gateway."""
    if mishap in (Mishap.DROPPED_BEFORE, Mishap.DROPPED_AFTER):
        return Answer(status=0, cut=True)
    return Answer(status=502, headers={"Content-Type": "text/html"}, body=BAD_GATEWAY)
