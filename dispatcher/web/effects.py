"""What an act would do, in words: for one instance or container, and for all that are meant together.

Pure: a snapshot goes in, sentences come out. They promise what the core does and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.core.model import IdleBehavior, Instance, Phase, State
from dispatcher.frozen import dataclass
from dispatcher.web.upstream import running, worker_state

HOLD, DRAIN, RUN, KILL = "hold", "drain", "run", "kill"
TITLES = {HOLD: "Hold", DRAIN: "Drain", RUN: "Release", KILL: "Kill"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One instance or container as it is now, and what would come of it. ``uuids``: the containers that run there. ``loses``:
    those of them that the act ends."""

    instance: str
    id: str
    type: str
    state: str
    behavior: str
    note: str
    uuids: tuple[str, ...]
    loses: tuple[str, ...]
    effect: str
    container: str = ""


def of_instance(act: str, instance: Instance) -> Row:
    uuids = tuple(running(instance))
    return Row(
        instance=instance.name, id=instance.id or "", type=instance.type, state=worker_state(instance),
        behavior=instance.idle_behavior.value, note=note(instance), uuids=uuids, loses=uuids if act == KILL else (),
        effect=effect(act, instance),
    )  # fmt: skip


def of_container(state: State, uuid: str, instance: Instance | None) -> Row:
    """``instance``: where it runs. What runs nowhere cannot be killed."""
    if instance is None:
        known = "it runs nowhere yet" if uuid in state.containers else "it is not known"
        text = f"Nothing: {known}. A container that waits is cancelled at the queue service."
        return Row(instance="", id="", type="", state="", behavior="", note="", uuids=(), loses=(), effect=text, container=uuid)
    text = "It is told to end, then forced to, and is Cancelled. The instance and what else runs there stay."
    return Row(
        instance=instance.name, id=instance.id or "", type=instance.type, state=worker_state(instance),
        behavior=instance.idle_behavior.value, note=note(instance), uuids=(uuid,), loses=(uuid,), effect=text, container=uuid,
    )  # fmt: skip


def note(instance: Instance) -> str:
    """Who chose its behaviour, and why."""
    said = instance.operator
    parts = [f"by {said.actor}" if said.actor else "", f"until {said.until}" if said.until else "", said.reason]
    return ", ".join(part for part in parts if part)


def effect(act: str, instance: Instance) -> str:
    many = counted(len(running(instance)), "running container")
    busy = bool(running(instance))
    if instance.phase is Phase.SHUTDOWN:
        return "It is being destroyed already."
    if act == KILL:
        held = " It is held: that does not save it." if instance.idle_behavior is IdleBehavior.HOLD else ""
        return f"It is destroyed at once{f', and {many} with it' if busy else ''}.{held}"
    if act == DRAIN:
        return f"It gets no more work, and is destroyed {f'at the end of {many}' if busy else 'as soon as nothing runs there'}."
    if act == HOLD:
        rest = f" What runs there goes on ({many})." if busy else ""
        return f"It gets no more work, and is kept and paid for until it is released or killed.{rest}"
    if instance.idle_behavior is IdleBehavior.RUN:
        return "It was not held or drained: it goes on as before."
    return "It gets work again, and is destroyed when it has been idle for too long."


def summary(act: str, rows: Sequence[Row]) -> str:
    """What everybody has to see before the button."""
    what = "container" if any(row.container for row in rows) else "instance"
    parts = [f"{TITLES[act]} {counted(len(rows), what)}."]
    lost = len({uuid for row in rows for uuid in row.loses})
    if act == KILL:
        parts.append(f"{counted(lost, 'running container')} will be killed." if lost else "No running container is killed.")
    held = sum(row.behavior == HOLD for row in rows if not row.container)
    if held and act != HOLD:
        parts.append(f"{counted(held, 'of the instances is', 'of the instances are')} held.")
    return " ".join(parts)


def counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
