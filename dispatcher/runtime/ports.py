"""The ports through which ``perform`` reaches the world: queue, cloud, instances, clock, leadership.

Production hands it the adapters of ``dispatcher.edge``, the simulation its fakes. A port does one thing, blocks until it is
done or its deadline has passed, and may be called from many threads at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from dispatcher.core.looks import Look as Look
from dispatcher.core.messages import CloudCallFailed as CloudCallFailed
from dispatcher.core.messages import CloudFailure as CloudFailure
from dispatcher.core.messages import KillReport as KillReport
from dispatcher.core.messages import ProbeReport
from dispatcher.core.messages import QueueError as QueueError
from dispatcher.core.messages import Records as Records
from dispatcher.core.messages import Sight as Sight
from dispatcher.core.messages import StartReport as StartReport
from dispatcher.core.messages import Target as Target
from dispatcher.core.model import ContainerRecord
from dispatcher.driver import Call, Created, CreateRequest, HostKey, InstanceType, Leftover, Listing, Price, TypeFacts


class Clock(Protocol):
    """``monotonic`` in seconds decides; ``utc`` (RFC 3339 with Z) and ``wall`` (Unix seconds) are for display and tags only."""

    def monotonic(self) -> float: ...
    def wall(self) -> float: ...
    def utc(self) -> str: ...


class QueuePort(Protocol):
    """The queue service. Every method raises ``QueueError``."""

    def token_uuid(self) -> str:
        """The uuid of our own token, by which we know which locks are ours. Asked once, then remembered."""

    def poll(self, look: Look) -> Sight:
        """What the look asks for: all containers locked by us, and those Queued with priority > 0 as far as it goes; or
        QueueError."""

    def read(self, uuids: Sequence[str]) -> Records:
        """The full records (with requirements) of at most 100 containers; who is not in the answer does not exist."""

    def lock(self, uuid: str) -> ContainerRecord: ...
    def unlock(self, uuid: str) -> ContainerRecord: ...

    def runtime_status(self, uuid: str) -> Mapping[str, object]:
        """What the container's ``runtime_status`` holds now."""

    def cancel(self, uuid: str, runtime_status: Mapping[str, str]) -> ContainerRecord:
        """Cancel and say why, in one request, which replaces the whole ``runtime_status``."""


class CloudPort(Protocol):
    """A driver behind error translation. Every method raises ``CloudCallFailed``."""

    def create(self, request: CreateRequest, call: Call) -> Created: ...
    def poll_create(self, operation: str, call: Call) -> bool | CloudFailure:
        """Done, still working, or how the create failed; what is raised says only that the call failed."""

    def list(self, call: Call) -> Listing: ...
    def destroy(self, instance_id: str, call: Call) -> None: ...
    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None: ...
    def delete_leftover(self, leftover: Leftover, call: Call) -> None: ...
    def host_keys(self, instance_id: str) -> tuple[HostKey, ...]: ...
    def quota_group(self, instance_type: InstanceType) -> str: ...
    def prices(self, types: Sequence[InstanceType], call: Call) -> tuple[Price, ...]: ...
    def type_facts(self, types: Sequence[InstanceType], call: Call) -> tuple[TypeFacts, ...]: ...


class InstancePort(Protocol):
    """What we do on an instance over SSH. No method raises: every outcome is data."""

    def probe(self, target: Target, *, boot: bool) -> ProbeReport:
        """List the runner's processes; with ``boot`` run the boot probe and put the runner in place first."""

    def start(self, target: Target, uuid: str, instance_type: InstanceType, *, vcpus: int | None = None) -> StartReport:
        """Start a container that asked for ``vcpus`` (None: as many as the instance has). When the outcome is UNKNOWN the
        connection has been closed before this returns."""

    def kill(self, target: Target, uuid: str, signal: int) -> KillReport: ...

    def output(self, target: Target, uuid: str) -> str:
        """The end of what the runner of this container wrote to its standard output and error: the last 50 lines, at most 16 kB,
        asked for in one command of at most 5 s, without control characters and without the secrets that we know. Empty when
        there is none or it cannot be had."""

    def close(self, name: str) -> None:
        """Forget the connection and everything pinned for it: the instance is gone."""
