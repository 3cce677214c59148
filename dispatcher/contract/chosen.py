"""The driver that the options of pytest name, found and configured as the dispatcher does it."""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dispatcher.config import CloudPart, load_cloud_part
from dispatcher.contract.cloud import TAG_PREFIX
from dispatcher.driver import Driver, DriverSettings, InstanceType, Misconfigured, OpenDriver
from dispatcher.edge.cloud_discovery import UnusableDriver, choose, find_entries, load

SECRET = re.compile(r"secret|token|password|private", re.IGNORECASE)
SHORTEST_SECRET = 6
HOW = "pytest --pyargs dispatcher.contract --driver NAME --config FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the tests need of the options."""

    opener: OpenDriver = field(repr=False)
    parameters: Mapping[str, Any] = field(repr=False)
    instance_type: InstanceType
    image_id: str
    instance_set_id: str
    patience_s: float
    public_key: str | None

    def open(self, set_id: str, **more: object) -> Driver:
        """Raises Misconfigured; any other exception is a mistake of the driver."""
        log = logging.getLogger("dispatcher.contract")
        parameters = {**self.parameters, **more}
        return self.opener(
            DriverSettings(parameters=parameters, instance_set_id=set_id, tag_prefix=TAG_PREFIX, log=log)
        )


def chosen(config: pytest.Config) -> Chosen:
    """Raises pytest.UsageError."""
    name, file = config.getoption("--driver", None), config.getoption("--config", None)
    if not name or not file:
        raise pytest.UsageError(f"name the driver and the file with its settings: {HOW}")
    try:
        opener = load(choose(name, find_entries()))
    except UnusableDriver as wrong:
        raise pytest.UsageError(str(wrong)) from wrong
    part = load_cloud_part(file, config.getoption("--cluster"))
    if part.problems:
        raise pytest.UsageError("; ".join(f"{problem.file}: {problem.path}: {problem.text}" for problem in part.problems))
    made = Chosen(
        opener=opener,
        parameters=part.parameters,
        instance_type=_instance_type(part, config.getoption("--instance-type")),
        image_id=part.image_id,
        instance_set_id=config.getoption("--instance-set-id") or f"contract-{_host()}",
        patience_s=config.getoption("--patience"),
        public_key=_text(config.getoption("--public-key")),
    )
    _try_to_open(made)
    return made


def _try_to_open(made: Chosen) -> None:
    """It makes no call to the cloud."""
    try:
        made.open(made.instance_set_id)
    except Misconfigured as wrong:
        raise pytest.UsageError(f"DriverParameters: {wrong}") from wrong


def _instance_type(part: CloudPart, name: str | None) -> InstanceType:
    if name is None:
        return min(part.instance_types.values(), key=lambda each: (each.preemptible, each.price))
    if name not in part.instance_types:
        raise pytest.UsageError(f"--instance-type {name}: the file has {', '.join(part.instance_types)}")
    return part.instance_types[name]


def secrets_in(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of keys that are named like a secret, long enough that they stand nowhere by chance."""
    return tuple(
        text for key, text in parameters.items() if SECRET.search(key) and isinstance(text, str) and len(text) >= SHORTEST_SECRET
    )


def _host() -> str:
    """The same in each run on this host: what a killed run has left behind is found by the next one."""
    return re.sub(r"[^a-z0-9]+", "-", platform.node().lower()).strip("-")[:20] or "host"


def _text(path: str | None) -> str | None:
    return None if path is None else Path(path).read_text(encoding="utf-8").strip()
