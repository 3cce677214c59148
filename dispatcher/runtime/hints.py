"""The small state file: what is worth knowing after a restart and stands neither in the queue nor in the cloud.

It is written whole and atomically every few seconds, and read when leadership is gained. A file that is missing, old or spoilt
is told once and ignored: what it holds are hints, which the core cuts to bounds.
"""

from __future__ import annotations

import json
import logging
import math
import operator
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from dispatcher.core import messages as m
from dispatcher.core import spending
from dispatcher.core.hints import LONGEST_S, Hints, InstanceHint
from dispatcher.core.model import ContainerState, Holdoff, HoldoffKind, Instance, Phase, State
from dispatcher.core.transitions.room import empty
from dispatcher.runtime.ports import Clock

VERSION = 1
FILE_NAME = "hints.json"
LARGEST_BYTES = 16 << 20
MOST_INSTANCES, MOST_CONTAINERS, MOST_HOLDOFFS = 20_000, 5_000, 200
WRITE_EVERY_S = 5.0
DAY_S = 86400.0

log = logging.getLogger(__name__)


class HintStore(Protocol):
    """Where the text is kept. Both raise OSError."""

    def read(self) -> str | None:
        """None when there is none yet."""

    def write(self, text: str) -> None: ...


class HintFile:
    """A file that is replaced as a whole: whoever reads it, after whatever crash, sees an old one or a new one."""

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / FILE_NAME

    def read(self) -> str | None:
        try:
            with self._path.open("rb") as file:
                held = file.read(LARGEST_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(held) > LARGEST_BYTES:
            raise OSError(f"{self._path} is larger than {LARGEST_BYTES >> 20} MiB")
        return held.decode("utf-8", "replace")

    def write(self, text: str) -> None:
        fresh = self._path.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# ---------------------------------------------------------------------------------------------------------------- to text


def written(state: State, now: float, wall_s: float) -> str:
    """The hints of a State. Times are ages in seconds at ``written_at`` (Unix seconds), so that a clock that is put right shifts
    all of them alike."""
    held = {
        "version": VERSION,
        "instance_set": state.settings.instance_set_id,
        "written_at": round(wall_s, 3),
        "spent": {"day": int(wall_s // DAY_S), "amount": round(spending.today(state, now), 6)},
        "holdoffs": list(_holdoffs(state, now)),
        "instances": dict(_instances(state, now)),
        "first_seen": dict(_first_seen(state, now)),
    }
    return json.dumps(held, separators=(",", ":"))


def _holdoffs(state: State, now: float) -> Iterator[dict[str, Any]]:
    for held in list(state.holdoffs.values())[:MOST_HOLDOFFS]:
        yield {
            "call": held.call, "key": held.key, "kind": held.kind.value, "ends_in": round(held.until_s - now, 3),
            "began": round(now - held.since_s, 3), "strikes": held.strikes, "reason": held.reason,
        }  # fmt: skip


def _instances(state: State, now: float) -> Iterator[tuple[str, dict[str, Any]]]:
    for instance in state.instances.all()[:MOST_INSTANCES]:
        if instance.id is not None:
            yield instance.name, _of_instance(instance, now)


def _of_instance(instance: Instance, now: float) -> dict[str, Any]:
    made: dict[str, Any] = {"id": instance.id, "boot": round(now - instance.phase_since_s, 1)}
    if instance.phase is Phase.READY and empty(instance) and math.isfinite(instance.busy_s):
        made["idle"] = round(now - instance.busy_s, 1)
    if instance.last_container:
        made["last"] = instance.last_container
    if instance.price:
        made["price"] = instance.price
    return made


def _first_seen(state: State, now: float) -> Iterator[tuple[str, float]]:
    """Of those that wait, the ones that wait longest."""
    waiting = [c for c in state.containers.all() if c.state in (ContainerState.QUEUED, ContainerState.LOCKED)]
    if len(waiting) > MOST_CONTAINERS:
        waiting.sort(key=lambda c: c.first_seen_s)
    for container in waiting[:MOST_CONTAINERS]:
        yield container.uuid, round(now - container.first_seen_s, 1)


# -------------------------------------------------------------------------------------------------------------- from text


class NotUnderstood(ValueError):
    """The text holds no hints that can be used; the message says why."""


def understood(text: str, now: float, wall_s: float, instance_set: str) -> Hints:
    """The hints of a text, on our own clock. Raises NotUnderstood."""
    try:
        held = json.loads(text, parse_constant=_no_number)
        return _understood(held, now, wall_s, instance_set)
    except NotUnderstood:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as bad:
        raise NotUnderstood(f"it is spoilt ({type(bad).__name__})") from bad


def _no_number(word: str) -> float:
    raise NotUnderstood(f"it holds {word} where a number has to be")


def _understood(held: Any, now: float, wall_s: float, instance_set: str) -> Hints:
    if held["version"] != VERSION:
        raise NotUnderstood(f"its version is not {VERSION}")
    if held["instance_set"] != instance_set:
        raise NotUnderstood("it is about the instances of another dispatcher")
    age_s = wall_s - _number(held["written_at"])
    if age_s > LONGEST_S:
        raise NotUnderstood(f"it is {age_s / 3600:.0f} hours old")
    at_s = now - max(0.0, age_s)  # written in the future, it was written just now: the wall clock was put back
    return Hints(
        at_s=at_s,
        spent_today=_number(held["spent"]["amount"]) if held["spent"]["day"] == int(wall_s // DAY_S) else None,
        holdoffs=tuple(_holdoff(each, at_s) for each in held["holdoffs"][:MOST_HOLDOFFS]),
        instances={_text(name): _instance(each, at_s) for name, each in _some(held["instances"], MOST_INSTANCES)},
        first_seen_s={_text(uuid): at_s - _number(age) for uuid, age in _some(held["first_seen"], MOST_CONTAINERS)},
    )


def _some(held: Mapping[str, Any], most: int) -> list[tuple[str, Any]]:
    return list(held.items())[:most]


def _holdoff(held: Any, at_s: float) -> Holdoff:
    return Holdoff(
        call=_text(held["call"]), key=_text(held["key"]), kind=HoldoffKind(held["kind"]),
        until_s=at_s + _number(held["ends_in"]), since_s=at_s - _number(held["began"]), strikes=int(_number(held["strikes"])),
        reason=_text(held["reason"]),
    )  # fmt: skip


def _instance(held: Any, at_s: float) -> InstanceHint:
    return InstanceHint(
        id=_text(held["id"]), boot_began_s=at_s - _number(held["boot"]), idle_since_s=at_s - _number(held.get("idle", 0.0)),
        last_container=_text(held.get("last", "")), price=_number(held.get("price", 0.0)),
    )  # fmt: skip


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotUnderstood("a number is missing")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 2000 or not value.isprintable():
        raise NotUnderstood("a text is missing, or holds what no text of ours holds")
    return value


# ----------------------------------------------------------------------------------------------------------------- keeper


class Keeper:
    """Reads the hints when leadership is gained, and writes them now and then while it is held. It also tells the core when the
    day began, and the log when money gets short."""

    def __init__(self, store: HintStore, snapshot: Callable[[], State], post: Callable[[m.Event], None], clock: Clock) -> None:
        self._store, self._snapshot, self._post, self._clock = store, snapshot, post, clock
        self._lock = threading.Lock()  # the last write is of the thread that stops
        self._kept: tuple[object, ...] = ()
        self._told: set[str] = set()
        self._alarm = ""
        self.problem = ""

    def gained(self) -> None:
        """To be called before the leadership is told: instances and containers are found after that."""
        self._tell_day()
        now, wall_s = self._clock.monotonic(), self._clock.wall()
        try:
            text = self._store.read()
            if text is not None:
                read = understood(text, now, wall_s, self._snapshot().settings.instance_set_id)
                self._post(m.HintsRead(hints=read))
        except (OSError, NotUnderstood) as bad:
            self._complain(f"the hints of the last run are not used: {bad}")
        except Exception:  # whatever it was, hints keep nobody from leading
            log.exception("a bug while reading hints; they are not used")

    def tick(self) -> None:
        """Tell the day; write, when there is something new to write."""
        self._tell_day()
        self._watch_money()
        with self._lock:
            state = self._snapshot()
            kept = (state.instances, state.containers, state.holdoffs, state.spending, state.leadership)
            if not state.leadership.leading or (self._kept and all(map(operator.is_, kept, self._kept))):
                return
            try:
                self._store.write(written(state, self._clock.monotonic(), self._clock.wall()))
                self._kept, self.problem = kept, ""
            except OSError as bad:
                self.problem = f"hints for the next start cannot be written: {bad}"
                self._complain(self.problem)

    def run(self, stop: threading.Event) -> None:
        """The body of its thread."""
        while not stop.wait(WRITE_EVERY_S):
            try:
                self.tick()
            except Exception:
                log.exception("hints: a bug; it goes on")

    def _tell_day(self) -> None:
        midnight_s = self._clock.monotonic() - self._clock.wall() % DAY_S
        self._post(m.DayTold(midnight_s=midnight_s))

    def _watch_money(self) -> None:
        alarm = spending.alarm(self._snapshot(), self._clock.monotonic())
        if bool(alarm) is not bool(self._alarm):
            log.warning("money: %s", alarm or "instances are created for everybody again")
        self._alarm = alarm

    def _complain(self, text: str) -> None:
        """The same trouble is told once."""
        if text not in self._told and len(self._told) < 100:
            self._told.add(text)
            log.warning("%s", text)


class MemoryHints:
    """A store without a file, for the simulation and tests."""

    def __init__(self, text: str | None = None) -> None:
        self.text = text
        self.earlier: list[str] = []

    def read(self) -> str | None:
        return self.text

    def write(self, text: str) -> None:
        self.earlier = [*self.earlier[-19:], text]
        self.text = text


def state_folder_problem(folder: str) -> str:
    """A folder that cannot be written stops nothing: what it holds are hints."""
    try:
        if os.access(folder, os.W_OK) and os.statvfs(folder).f_bavail > 0:
            return ""
    except OSError as error:
        return f"the state folder {folder}: {error.strerror}"
    return f"the state folder {folder} cannot be written, or its disk is full"
