"""Big observations turned into differences, outside the lock: what is new in a poll, and what is missing from a poll or list.

What is left out here says nothing that State does not hold already.
"""

from __future__ import annotations

from collections.abc import Iterable

from dispatcher.core.looks import Look, Span, place
from dispatcher.core.messages import Sight
from dispatcher.core.model import Container, ContainerRecord, ContainerState, State
from dispatcher.driver import Instance as ListedInstance

_HOLDING = (ContainerState.LOCKED, ContainerState.RUNNING)


def news(state: State, records: Iterable[ContainerRecord], token_uuid: str) -> list[ContainerRecord]:
    """The records that tell something: unknown containers, and those that differ from what we hold."""
    held = state.containers
    return [record for record in records if (known := held.get(record.uuid)) is None or _differs(known, record, token_uuid)]


def _differs(container: Container, record: ContainerRecord, token_uuid: str) -> bool:
    return (
        container.state is not record.state
        or container.priority != record.priority
        or (record.lock_count is not None and container.lock_count != record.lock_count)
        or (bool(record.gateway_address) and container.gateway_address != record.gateway_address)
        or container.ours != (record.state in _HOLDING and record.locked_by_uuid == token_uuid)
        or container.exited_s is not None
        or (container.requirements is None and record.requirements is not None)
    )


def absent(state: State, look: Look, answer: Sight) -> list[str]:
    """Containers that we hold and that a look should have shown, but did not. Of those that wait, it shows what it covered."""
    shown = {record.uuid for record in answer.records}
    return [
        c.uuid
        for c in state.containers.all()
        if c.uuid not in shown
        and not c.state.final
        and c.writing is None
        and _should_show(c, look, answer.span)
        and c.uuid not in answer.rejected
    ]


def _should_show(container: Container, look: Look, span: Span) -> bool:
    if container.state is not ContainerState.QUEUED:
        return look.own
    return look.size > 0 and span.covers(place(container.priority, container.created_at, container.uuid))


def missed(state: State, listed: Iterable[ListedInstance]) -> list[str]:
    """Instances that we hold and that a complete list did not show."""
    names = {instance.name for instance in listed}
    return [i.name for i in state.instances.all() if i.name not in names and not i.creating]
