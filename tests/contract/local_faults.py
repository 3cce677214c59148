"""What can go wrong with a cloud that is one folder of this host: no place is left, nobody may read it, a file of it is damaged.

It has no rate limit, no want of machines, and no answers that get lost on their way.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from dispatcher.contract import Fault
from dispatcher.contract.suite import TAG_PREFIX
from dispatcher.driver import Call, CreateRequest, Driver, InstanceType, QuotaReached

NOBODY = 65534
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4 nobody's"


def local_faults(folder: Path, open_for: Callable[[str], Driver]) -> Callable[[Fault], AbstractContextManager[None] | None]:
    """For the fixture ``provoke``."""
    faults: dict[Fault, Callable[[], AbstractContextManager[None]]] = {
        Fault.QUOTA: lambda: _all_places_taken(open_for("somebody-else")),
        Fault.LOGIN: lambda: _not_allowed(folder),
        Fault.BROKEN_PAGE: lambda: _damaged(next(folder.glob("instances/*/tags.json"))),
    }
    return lambda fault: faults[fault]() if fault in faults else None


@contextlib.contextmanager
def _all_places_taken(other: Driver) -> Iterator[None]:
    """By another set, which counts as well."""
    with contextlib.suppress(QuotaReached):
        for number in range(100):
            other.create(_asked(f"other-{number}"), Call(timeout_s=20))
    yield
    for instance in other.list(Call(timeout_s=20)).instances:
        other.destroy(instance.id, Call(timeout_s=20))


def _asked(name: str) -> CreateRequest:
    return CreateRequest(
        name=name,
        instance_type=InstanceType(name="small", provider_type="small", vcpus=1, ram_bytes=1 << 30),
        image_id="",
        tags={f"{TAG_PREFIX}InstanceSetID": "somebody-else"},
        init_script="#!/bin/sh\n",
        public_key=KEY,
    )


@contextlib.contextmanager
def _not_allowed(folder: Path) -> Iterator[None]:
    """Root may read everything, so it is somebody else meanwhile."""
    mode, user = folder.stat().st_mode, os.geteuid()
    folder.chmod(0)
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(mode)


@contextlib.contextmanager
def _damaged(file: Path) -> Iterator[None]:
    text = file.read_text()
    file.write_text(text[: len(text) // 2])
    yield
    file.write_text(text)
