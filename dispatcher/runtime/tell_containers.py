"""What changed about a container, in sentences. Pure: two values in, sentences out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dispatcher.core.model import Container, ContainerState, Fit
from dispatcher.runtime.told import DEBUG, INFO, WARNING, Kind, Told


def container_news(before: Container | None, after: Container | None) -> Iterator[Told]:
    """Nothing for a change that concerns nobody (stamps, a read on its way)."""
    if before is None and after is not None:
        level = DEBUG if after.fit is None else INFO  # what can run it is told when it is known, and what it is, again
        text = f"found in the queue: {after.state}, priority {after.priority}"
        yield _told(after, text, level=level, State=after.state.value, **_types(after))
        if after.fit is not None and (not after.fit.types or after.fit.warning):
            yield _fit(after, after.fit)
    elif before is not None and after is None:
        yield _told(before, f"dropped: nothing more is to be done for it ({before.state})", State=before.state.value)
    elif before is not None and after is not None:
        yield from _record_news(before, after)
        yield from _place_news(before, after)


def _record_news(before: Container, after: Container) -> Iterator[Told]:
    if after.state is not before.state:
        early = ", for the next place that becomes free" if after.ahead else ""
        yield _told(after, f"is now {after.state} (was {before.state}){early}", State=after.state.value)
    if after.priority != before.priority:
        text = f"priority {before.priority} → {after.priority}"
        gone = after.priority == 0 and not after.state.final
        yield _told(after, text + (": nobody wants it any more" if gone else ""), level=INFO if gone else DEBUG)
    if after.fit is not None and after.fit != before.fit:
        yield _fit(after, after.fit, level=INFO if before.fit is None else DEBUG)
    if after.kill_requested and not before.kill_requested:
        yield _told(after, f"an operator asked to kill it: {after.kill_requested}", level=WARNING)


def _place_news(before: Container, after: Container) -> Iterator[Told]:
    if after.instance is not None and after.instance != before.instance:
        waits = after.state is ContainerState.QUEUED
        yield _told(after, f"has a place on {after.instance}" + (" and is being locked" if waits else ""), where=after.instance)
    if after.lost and not before.lost:
        yield _told(after, f"lost its instance {before.instance}: {after.lost}", level=WARNING, where=before.instance)
    elif after.instance is None and before.instance is not None and after.exited_s == before.exited_s:
        yield _told(after, f"gave up its place on {before.instance}", level=DEBUG, where=before.instance)
    if after.failed_attempts > before.failed_attempts:
        text = f"attempt {after.lock_count} failed on {after.avoid}: {after.last_error}"
        yield _told(after, text, level=WARNING, where=after.avoid, error=after.last_error, LockCount=after.lock_count)


def _types(container: Container) -> dict[str, Any]:
    return {"InstanceTypes": ", ".join(container.fit.types)} if container.fit is not None else {}


def _fit(container: Container, fit: Fit, *, level: int = DEBUG) -> Told:
    if fit.types and fit.warning:
        return _told(container, f"can run on {', '.join(fit.types)}, but {fit.warning}", level=WARNING, error=fit.warning)
    if fit.types:
        text = f"can run on {', '.join(fit.types)}: {container.state}, priority {container.priority}"
        return _told(container, text, level=level, State=container.state.value, **_types(container))
    return _told(container, f"fits no instance type: {fit.problem}", level=WARNING, error=fit.problem)


def _told(container: Container, text: str, *, level: int = INFO, where: str | None = None, **fields: object) -> Told:
    known = {"ContainerUUID": container.uuid, "Priority": container.priority, **fields}
    return Told(
        text=f"container {container.uuid} {text}", kind=Kind.CONTAINER, level=level, container=container.uuid, instance=where,
        fields=known,
    )  # fmt: skip
