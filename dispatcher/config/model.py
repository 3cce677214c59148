"""The configuration as one frozen value: the core's Settings, and what the other rooms need to reach the world.

Secrets are never part of a ``repr``. Everything here was checked; what depends on the network or on a driver was not.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from dispatcher.config.problems import InForce, Problem, Severity
from dispatcher.core.settings import Settings
from dispatcher.driver import DriverSettings, InstanceType
from dispatcher.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class API:
    """The queue service. ``host`` is ``host`` or ``host:port``, as runners get it; ``url`` has the scheme and no slash at its
    end. ``insecure``: its certificate is not verified. ``certificate_file``: trusted instead of the system's store; or empty.
    ``events_url``: where changes are announced (ws or wss), or empty."""

    url: str
    host: str
    token: str = field(repr=False)
    insecure: bool = False
    certificate_file: str = ""
    events_url: str = ""
    max_items_per_response: int = 1000
    max_concurrent_requests: int = 64
    max_queue_time_for_lock_requests_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the management API listens. ``url`` is the entry of InternalURLs; empty when this host has none."""

    host: str = "127.0.0.1"
    port: int = 9006
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgreSQL:
    """``parameters`` are libpq's, by its names (host, port, user, password, dbname, …)."""

    parameters: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """``audit_file``: where acts of operators are written down besides the ordinary log; or empty."""

    level: str = "info"
    format: str = "json"
    audit_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How instances are reached. ``private_key`` is PEM text; ``ssh_port`` a number or the name of a service, for addresses
    that name none. ``thread_per_connection``: instead of one thread that reads all connections."""

    private_key: str = field(repr=False)
    ssh_port: str = "22"
    thread_per_connection: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """The program that runs a container on an instance. ``binary`` is the file on this host that is put there, into
    ``directory``; None: the instance's own ``command`` is used. ``broken_node_hook``: a command there, or empty."""

    command: str = "crunch-run"
    arguments: tuple[str, ...] = ()
    engine: str = "docker"
    broken_node_hook: str = ""
    binary: str | None = None
    directory: str = "/tmp/arvados-crunch-run"  # noqa: S108  (upstream's; made by root, and checked by its hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverChoice:
    """``parameters`` is what stands under DriverParameters; it may hold secrets, and the driver checks it."""

    name: str
    parameters: Mapping[str, Any] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatePlaces:
    """Where this host keeps hints over a restart, and the lock file that stands in for PostgreSQL."""

    folder: str
    lock_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which text of the cluster's file is in force: its hash, when the file had been written and when it was read, in Unix
    seconds."""

    sha256: str = ""
    written_s: float = 0.0
    loaded_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that the files say. ``cluster`` is the cluster's own mapping as it stands there, secrets included: runners
    with a local storage server get it. ``in_force`` tells each value and where it came from."""

    cluster_id: str
    settings: Settings
    api: API
    listen: Listen
    management_token: str = field(repr=False)
    read_only_token: str = field(repr=False, default="")
    postgresql: PostgreSQL | None
    logs: Logs
    access: Access
    runner: Runner
    driver: DriverChoice
    state: StatePlaces
    cluster: Mapping[str, Any] = field(repr=False)
    in_force: tuple[InForce, ...] = field(repr=False)
    source: Source = field(default_factory=Source, compare=False)

    def driver_settings(self, log: logging.Logger) -> DriverSettings:
        """What the configured driver is opened with."""
        return DriverSettings(
            parameters=self.driver.parameters,
            instance_set_id=self.settings.instance_set_id,
            tag_prefix=self.settings.tag_prefix,
            log=log,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudPart:
    """What a driver needs of the cluster's file, and nothing else: a file that holds no more than this is enough for its tests.
    ``problems`` are those that were found in it."""

    parameters: Mapping[str, Any] = field(repr=False, default_factory=dict)
    image_id: str = ""
    instance_types: Mapping[str, InstanceType] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementPart:
    """What a client of the management API needs. ``urls`` of all dispatchers, without a slash at their end; ``certificate_file``
    and ``insecure`` as for the API. ``problems`` are those that were found in it."""

    urls: tuple[str, ...] = ()
    token: str = field(repr=False, default="")
    insecure: bool = False
    certificate_file: str = ""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What came of reading the files. ``config`` is None when there is any error in ``problems``; ``in_force`` is filled as
    far as the files could be understood. ``lines``: path below ``prefix`` → line, of the
    keys that only other rooms can judge. ``elsewhere``: path → file, of what stands in a file of its own."""

    config: Config | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    in_force: tuple[InForce, ...] = field(repr=False, default=())
    file: str = ""
    prefix: str = ""
    lines: Mapping[str, int] = field(repr=False, default_factory=dict)
    elsewhere: Mapping[str, str] = field(repr=False, default_factory=dict)

    @property
    def unreadable(self) -> bool:
        return any(problem.unreadable for problem in self.problems)

    def driver_problem(self, path: str, text: str) -> Problem:
        """A driver's complaint about the parameter ``path`` (below DriverParameters), at its line or the nearest above."""
        return self.problem_at("Containers.CloudVMs.DriverParameters" + (f".{path}" if path else ""), text)

    def problem_at(self, path: str, text: str) -> Problem:
        """What another room found wrong with a key: ``path`` as in the table of keys."""
        known = path
        while known and known not in self.lines:
            known = known.rpartition(".")[0]
        full = f"{self.prefix}.{path}" if self.prefix else path
        file = self.elsewhere.get(full, self.file)
        return Problem(severity=Severity.ERROR, file=file, path=full, line=self.lines.get(known), text=text)
