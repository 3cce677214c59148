"""``check-config --cloud``: what the cloud itself says of the configured instance types, before a dispatcher starts.

It asks, and changes nothing there; what it says becomes warnings, for it may be another tomorrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from dispatcher.config import Config, Loaded, Problem, Severity
from dispatcher.core import catalogue
from dispatcher.core import messages as m
from dispatcher.core.model import CataloguePart, State
from dispatcher.core.transitions import observe
from dispatcher.driver import Call
from dispatcher.edge.cloud import Cloud

Open = Callable[[Config], Cloud]


def cloud_warnings(loaded: Loaded, config: Config, opened: Open | None = None) -> tuple[Problem, ...]:
    """``config`` is one with which the dispatcher could start."""
    return tuple(_warning(loaded, path, text) for path, text in _said(config, (opened or _open)(config)))


def _open(config: Config) -> Cloud:
    from dispatcher.runtime.daemon import SystemClock, open_cloud  # here: only who asks the cloud waits for all of it

    return open_cloud(config, SystemClock())


def _said(config: Config, cloud: Cloud) -> Iterator[tuple[str, str]]:
    if not (cloud.capabilities.prices or cloud.capabilities.type_facts):
        text = f"the driver {config.driver.name}, as it is configured, asks no cloud about types or prices"
        yield "Containers.CloudVMs.Driver", text
        return
    state = State(settings=config.settings)
    for part in CataloguePart:
        event = _ask(state, cloud, part, config.settings.timeout_cloud_call_s)
        if isinstance(event, m.CatalogueFailed):
            yield "Containers.CloudVMs.DriverParameters", f"the cloud's {part.value} cannot be read: {event.failure.text}"
        else:
            state = observe(state, event, 0.0)
    for text in catalogue.warnings(state):
        yield "InstanceTypes", text


def _ask(state: State, cloud: Cloud, part: CataloguePart, timeout_s: float) -> m.CatalogueRead | m.CatalogueFailed:
    types, call = tuple(state.settings.instance_types.values()), Call(timeout_s=timeout_s)
    try:
        if part is CataloguePart.PRICES:
            return m.CatalogueRead(part=part, types=types, prices=cloud.prices(types, call))
        return m.CatalogueRead(part=part, types=types, facts=cloud.type_facts(types, call))
    except m.CloudCallFailed as error:
        return m.CatalogueFailed(part=part, failure=error.failure)


def _warning(loaded: Loaded, path: str, text: str) -> Problem:
    return replace(loaded.problem_at(path, text), severity=Severity.WARNING)
