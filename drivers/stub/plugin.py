"""Opens the stub as a driver: on a cloud that the caller hands in, or on a new one in real time."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Mapping
from typing import Any

from dispatcher.driver import DriverSettings, Misconfigured
from drivers.stub.cloud import Servers, StubCloud
from drivers.stub.driver import StubDriver
from drivers.stub.knobs import StubKnobs

KNOWN = ("Cloud", "Kind", "Seed", "Knobs", "SSH")


def open(settings: DriverSettings) -> StubDriver:
    """Parameters: ``Cloud`` (a StubCloud object; the others are then ignored), ``Kind`` (true: no unkindness), ``Seed`` (of the
    chances), ``Knobs`` (a mapping of fields of StubKnobs), ``SSH`` (true: its instances answer on ports of 127.0.0.1). Raises
    Misconfigured."""
    parameters = settings.parameters
    for name in parameters:
        if name not in KNOWN:
            raise Misconfigured(name, f"the stub does not know this; it knows {', '.join(KNOWN)}")
    cloud = parameters.get("Cloud")
    if cloud is None:
        cloud = StubCloud(
            now=time.monotonic,
            random=random.Random(parameters.get("Seed", 0)),
            knobs=_knobs(parameters.get("Knobs") or {}, bool(parameters.get("Kind", False))),
            pause=time.sleep,
            blocks=True,
            servers=_servers() if parameters.get("SSH", False) else None,
        )
    if not isinstance(cloud, StubCloud):
        raise Misconfigured("Cloud", "must be a StubCloud; leave it out in a file")
    return StubDriver(cloud, settings)


def _servers() -> Servers:
    from drivers.stub.servers import SSHServers  # here, because simulations need no SSH library

    return SSHServers(now=time.monotonic)


def _knobs(given: Mapping[str, Any], kind: bool) -> StubKnobs:
    known = {field.name for field in dataclasses.fields(StubKnobs)}
    for name in given:
        if name not in known:
            raise Misconfigured(f"Knobs.{name}", f"no such knob; there are {', '.join(sorted(known))}")
    return StubKnobs.kind(**given) if kind else dataclasses.replace(StubKnobs(), **given)
