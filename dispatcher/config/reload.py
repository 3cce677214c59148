"""What of freshly read files may come into force while the dispatcher runs, and which changes wait for the next start.

The table of keys says which is which. A value that only counts from a start on is kept as it was in every respect: nobody may
plan by a new token or tag prefix while calls are made with the old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from dispatcher.config.keys import KEYS, Key
from dispatcher.config.model import Config
from dispatcher.config.values import STRUCTURE

_OF_STRUCTURES: Mapping[str, str] = {
    "Services.Controller.ExternalURL": "api.url",
    "Services.DispatchCloud.InternalURLs": "listen",
    "Services.Websocket.ExternalURL": "api.events_url",
    "PostgreSQL.Connection": "postgresql",
    "Containers.DispatchPrivateKey": "access.private_key",
    "Containers.CloudVMs.DeployRunnerBinary": "runner.binary",
    "Containers.CloudVMs.DriverParameters": "driver.parameters",
}
"""Where the values of keys that are no single value stand in the Config."""

_DERIVED = ("cluster_id", "instance_set_id")  # settings that follow from keys which need a start


def place(key: Key) -> str:
    """Where a key's value stands in the Config, as a dotted path; empty when it has no effect."""
    return key.target.removeprefix("config.") if key.kind is not STRUCTURE else _OF_STRUCTURES.get(key.path, "")


def reloaded(running: Config, fresh: Config) -> tuple[Config, tuple[str, ...]]:
    """The Config that is in force from now on, and the paths of the keys that changed and need a start."""
    waiting = [key for key in KEYS if not key.reload and place(key)]
    changed = tuple(key.path for key in waiting if _differs(place(key), running, fresh))
    kept = [place(key).removeprefix("settings.") for key in waiting if place(key).startswith("settings.")]
    old = {name: getattr(running.settings, name) for name in (*kept, *_DERIVED)}
    return replace(running, settings=replace(fresh.settings, **old), source=fresh.source), changed


def waits_for_start(changed: Sequence[str]) -> str:
    """What operators are told of keys that changed and need a start; empty without any."""
    return f"changed in the files, and of effect from the next start on: {', '.join(changed)}" if changed else ""


def _differs(where: str, running: Config, fresh: Config) -> bool:
    read = attrgetter(where)
    return bool(read(running) != read(fresh))
