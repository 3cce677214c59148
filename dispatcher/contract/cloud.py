"""What the contract tests do with a cloud: create, look, wait, and take away again everything that they made.

A set of instances that is not empty is refused before anything is done to it, so that nothing is destroyed but what a test made.
"""

from __future__ import annotations

import enum
import itertools
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest

from dispatcher.driver import Call, Capabilities, CloudError, CreateRequest, Driver, Instance, InstanceType, Listing, Presence

DriverFactory = Callable[[str], Driver]
TAG_PREFIX = "ContractTest"
MOST_SHOWN = 5


class Fault(enum.StrEnum):
    """What an author's fake can be asked to do to the calls of a test; nothing of this can be had from a real cloud."""

    QUOTA = "quota"  # every create is refused: the account has no more
    CAPACITY = "capacity"  # every create of this type is refused: the cloud has none
    PACE = "pace"  # every create is refused: too many requests
    LOGIN = "login"  # every call is refused: the credentials are wrong
    LOST_ANSWER = "lost answer"  # creates and destroys take effect, and their answers are lost
    BROKEN_PAGE = "broken page"  # lists break off
    LEFTOVER = "leftover"  # an instance that is destroyed leaves something behind
    PACE_OF_ALL = "pace of all"  # every call is refused: too many requests
    SILENCE = "silence"  # calls are taken, and answered only when this is over
    NONSENSE = "nonsense"  # a gateway answers with a page of its own, whether or not the call took effect
    LATE_FAILURE = "late failure"  # creates are accepted, and fail afterwards


Provoke = Callable[[Fault], AbstractContextManager[object] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the author's fixtures say about this cloud."""

    instance_type: InstanceType
    image_id: str
    public_key: str | None
    pause: Callable[[float], None]
    patience_s: float


class Cloud:
    """A driver and what was made with it, so that it can be taken away again."""

    def __init__(self, driver: Driver, set_id: str, surroundings: Surroundings) -> None:
        self.driver = driver
        self.set_id = set_id
        self._around = surroundings
        self._names = (f"contract-{os.urandom(4).hex()}-{number}" for number in itertools.count(1))

    def request(self, name: str | None = None, instance_type: InstanceType | None = None) -> CreateRequest:
        return CreateRequest(
            name=name or next(self._names),
            instance_type=instance_type or self._around.instance_type,
            image_id=self._around.image_id,
            tags=self.tags(),
            init_script="#!/bin/sh\n",
            public_key=self._around.public_key,
        )

    def tags(self, **more: str) -> dict[str, str]:
        return {f"{TAG_PREFIX}InstanceSetID": self.set_id, f"{TAG_PREFIX}InstanceType": self._around.instance_type.name, **more}

    def listed(self) -> set[str]:
        """The ids in a list."""
        return {instance.id for instance in self.listing().instances}

    def listing(self) -> Listing:
        return self.driver.list(call())

    def find(self, instance_id: str) -> Instance | None:
        return next((instance for instance in self.listing().instances if instance.id == instance_id), None)

    def named(self, name: str) -> tuple[Instance, ...]:
        return tuple(instance for instance in self.listing().instances if instance.name == name)

    def let_lag_pass(self) -> None:
        self._around.pause(list_lag_s(self.driver))

    def wait_until(self, holds: Callable[[], object], what: str) -> None:
        """Look again and again until it holds, and once more after the lag of lists: then it has to stay so."""
        self._look_until(holds)
        self.let_lag_pass()
        if not holds():
            self._fail(what)

    def _look_until(self, holds: Callable[[], object]) -> bool:
        step_s = min(1.0, self._around.patience_s / 100)
        for _ in range(int(self._around.patience_s / step_s)):
            if holds():
                return True
            self._around.pause(step_s)
        return False

    def _fail(self, what: str) -> NoReturn:
        pytest.fail(f"not within {self._around.patience_s} s: {what}")

    def create(self) -> str:
        """The id of a new instance, once it is listed."""
        created = self.driver.create(self.request(), call())
        self.wait_until(lambda: self.find(created.id), "the created instance is listed")
        return created.id

    def destroy(self, instance_id: str) -> None:
        """Returns when it is listed no more."""
        self.driver.destroy(instance_id, call())
        self.wait_until(lambda: self.find(instance_id) is None, "the destroyed instance is not listed")

    # ---------------------------------------------------------------------------------------------------- begin and end

    def refuse_unless_empty(self) -> None:
        """Before anything is done: whatever is here was not made by this test."""
        listing = self.listing()
        if listing.instances or listing.leftovers:
            found = _some([*(instance.id for instance in listing.instances), *(left.id for left in listing.leftovers)])
            pytest.fail(
                f"refused: the instance set {self.set_id!r} is not empty ({found}). Nothing was touched. "
                "Remove what is there, or name another set by --instance-set-id"
            )

    def take_away(self) -> None:
        """Everything that the set holds now was made here, also what no list shows yet. Fails when something stays.

        A create that was broken off may still be on its way to the cloud: what comes between two looks is taken too.
        """
        self.let_lag_pass()
        if not self._look_until(self._stays_empty):
            self._fail(f"everything is gone that was made in the set {self.set_id!r}")

    def _stays_empty(self) -> bool:
        """At two looks, with the lag of lists between them."""
        if not self._took_all():
            return False
        self.let_lag_pass()
        return self._took_all()

    def _took_all(self) -> bool:
        """One more round over what is still there; True when nothing is."""
        try:
            listing = self.listing()
        except CloudError:
            return False
        for instance in listing.instances:
            if instance.state is Presence.DELETING:
                continue
            with suppress(CloudError):
                self.driver.destroy(instance.id, call())
        delete = getattr(self.driver, "delete_leftover", None) if declared(self.driver).delete_leftover else None
        for leftover in listing.leftovers:
            with suppress(CloudError):
                if delete is not None:
                    delete(leftover, call())
        return listing.complete and not listing.instances and not listing.leftovers


def call(timeout_s: float = 120.0) -> Call:
    return Call(timeout_s=timeout_s)


def exists(instance: Instance | None) -> bool:
    """Shown, and not on its way out."""
    return instance is not None and instance.state is Presence.PRESENT


def tags_of(instance: Instance | None) -> dict[str, str] | None:
    return None if instance is None else dict(instance.tags)


def list_lag_s(driver: Driver) -> float:
    """What the driver declares, in any of the forms that a declaration may have."""
    return float(declared(driver).list_lag_s or 0.0)


def declared(driver: Driver) -> Capabilities:
    """Capabilities may be a Capabilities, a mapping or an iterable of names; what no Capabilities has is left to its own test."""
    said: object = getattr(driver, "capabilities", ())
    if isinstance(said, Capabilities):
        return said
    names = said if isinstance(said, list | tuple | set | frozenset) else ()
    found: dict[str, Any] = dict(said) if isinstance(said, Mapping) else dict.fromkeys(names, True)
    return Capabilities(**{name: value for name, value in found.items() if name in Capabilities.__dataclass_fields__})


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(names[:MOST_SHOWN]) + more
