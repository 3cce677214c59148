"""The settings of the local driver, from ``DriverParameters``: every mistake names its key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.driver import Misconfigured
from drivers.ssh_server import authorized_words

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """``create_time_s``: until an address is known; ``boot_time_s``: from the creation until SSH answers."""

    folder: Path
    create_time_s: float = 0.0
    boot_time_s: float = 2.0
    quota: int = 8
    authorized_key: str = ""
    kept_logs: int = 50
    kept_outputs: int = 1000


def parse(given: Mapping[str, Any]) -> Parameters:
    """Raises Misconfigured."""
    known = ("Folder", "CreateTime", "BootTime", "Quota", "AuthorizedKey", "KeptLogs", "KeptOutputs")
    for name in given:
        if name not in known:
            raise Misconfigured(str(name), f"the local driver does not know this; it knows {', '.join(known)}")
    return Parameters(
        folder=_folder(given.get("Folder")),
        create_time_s=_duration("CreateTime", given.get("CreateTime", 0)),
        boot_time_s=_duration("BootTime", given.get("BootTime", "2s")),
        quota=_count("Quota", given.get("Quota", 8)),
        authorized_key=_authorized_key(given.get("AuthorizedKey", "")),
        kept_logs=_count("KeptLogs", given.get("KeptLogs", 50)),
        kept_outputs=_count("KeptOutputs", given.get("KeptOutputs", 1000)),
    )


def _folder(value: object) -> Path:
    if not isinstance(value, str) or not Path(value).expanduser().is_absolute():
        raise Misconfigured("Folder", "name an absolute folder; everything that the local instances write goes there")
    return Path(value).expanduser()


def _duration(name: str, value: object) -> float:
    """Seconds, from ``2s``, ``1.5m``, ``500ms``, ``1h`` or a plain number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Misconfigured(name, f"{value!r} is no duration; write it like 2s, 500ms or 1.5m")
    return float(match[1]) * _UNITS_S[match[2]]


def _count(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Misconfigured(name, f"{value!r} is no whole number from 0 on")
    return value


def _authorized_key(value: object) -> str:
    if not value:
        return ""
    try:
        authorized_words(str(value))
    except ValueError as error:
        raise Misconfigured("AuthorizedKey", str(error)) from error
    return str(value)
