"""The cloud's side of ``cloudtest``: every call is timed and told, and what goes wrong becomes a note, never an end by itself.

It makes one instance and ends only when nothing of its set is listed. Time, waiting and words are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Protocol, TypeVar

from dispatcher.core.messages import CloudCallFailed, CloudFailure
from dispatcher.core.model import HoldoffKind
from dispatcher.driver import Call, Capabilities, Created, CreateRequest, HostKey, Instance, Listing, Presence
from dispatcher.frozen import dataclass

Answer = TypeVar("Answer")


class Cloud(Protocol):
    """What is used of the dispatcher's own adapter of a driver."""

    capabilities: Capabilities

    def create(self, request: CreateRequest, call: Call) -> Created: ...
    def poll_create(self, operation: str, call: Call) -> bool | CloudFailure: ...
    def list(self, call: Call) -> Listing: ...
    def destroy(self, instance_id: str, call: Call) -> None: ...
    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None: ...
    def host_keys(self, instance_id: str) -> tuple[HostKey, ...]: ...


class Clock(Protocol):
    """``monotonic`` in seconds, and a way to let them pass."""

    def monotonic(self) -> float: ...
    def wait(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """``list_s``: between two lists while something is awaited; ``destroy_s``: until a destroy is sent again; ``lag_s``: how long
    a list may hide what a call changed."""

    list_s: float
    probe_s: float
    destroy_s: float
    lag_s: float
    call_s: float
    boot_s: float


@dataclass(slots=True, kw_only=True)
class Notes:
    """What is told as it happens, and the problems that make the test fail, each once. ``interrupted``: somebody wants it to
    end."""

    tell: Callable[[str], None]
    problems: list[str] = field(default_factory=list)
    interrupted: bool = False

    def interrupt(self) -> None:
        self.interrupted = True
        self.problem("interrupted")

    def problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)
        self.tell(f"PROBLEM: {text}")


class CloudSide:
    """The calls of one test."""

    def __init__(self, cloud: Cloud, clock: Clock, pace: Pace, notes: Notes) -> None:
        self._cloud, self._clock, self._notes = cloud, clock, notes
        self.pace = pace
        self._not_before_s = clock.monotonic()

    @property
    def now_s(self) -> float:
        return self._clock.monotonic()

    def wait(self, seconds: float) -> None:
        """So long, or until the cloud wants to hear of us again."""
        self._clock.wait(max(seconds, self._not_before_s - self.now_s))

    # ------------------------------------------------------------------------------------------------------------- calls

    def create(self, request: CreateRequest) -> Created | CloudFailure:
        began_s = self.now_s
        call = Call(timeout_s=self.pace.call_s)
        try:
            created = self._cloud.create(request, call)
        except CloudCallFailed as error:
            self._failed("create", error.failure, began_s)
            return error.failure
        self._notes.tell(f"create: accepted as {created.id} in {self._since(began_s)}")
        return created

    def poll_create(self, operation: str) -> bool | CloudFailure:
        """A call that fails says nothing of the create."""
        return self._ask("poll_create", lambda call: self._cloud.poll_create(operation, call), lambda: False)

    def list(self) -> Listing | None:
        """None when it failed."""
        return self._ask("list", lambda call: self._cloud.list(call), lambda: None)

    def destroy(self, instance_id: str) -> bool:
        """Whether the cloud has taken it."""
        began_s = self.now_s

        def send(call: Call) -> bool:
            self._cloud.destroy(instance_id, call)
            return True

        taken = self._ask("destroy", send, lambda: False)
        if taken:
            self._notes.tell(f"destroy: {instance_id} accepted in {self._since(began_s)}")
        return taken

    def set_tags(self, instance_id: str, tags: Mapping[str, str]) -> bool:
        def send(call: Call) -> bool:
            self._cloud.set_tags(instance_id, tags, call)
            return True

        return self._ask("set_tags", send, lambda: False)

    def host_keys(self, instance: Instance) -> tuple[HostKey, ...]:
        """As the dispatcher itself comes to know them."""
        if instance.host_keys or not self._cloud.capabilities.host_keys:
            return instance.host_keys
        return self._ask("host_keys", lambda call: self._cloud.host_keys(instance.id), tuple)

    def _ask(self, name: str, act: Callable[[Call], Answer], otherwise: Callable[[], Answer]) -> Answer:
        began_s, call = self.now_s, Call(timeout_s=self.pace.call_s, leftovers=False, usages=False)
        try:
            return act(call)
        except CloudCallFailed as error:
            self._failed(name, error.failure, began_s)
            return otherwise()

    def _failed(self, name: str, failure: CloudFailure, began_s: float) -> None:
        """To be asked to slow down is no problem; it is obeyed."""
        unknown = " (it may have taken effect)" if failure.outcome_unknown else ""
        text = f"{name} failed after {self._since(began_s)}: {failure.text}{unknown}"
        self._not_before_s = max(self._not_before_s, self.now_s + (failure.retry_after_s or 0.0))
        if failure.kind is HoldoffKind.RATE and name != "create":
            self._notes.tell(text)
        else:
            self._notes.problem(f"{name} failed: {failure.text}{unknown}")

    def _since(self, began_s: float) -> str:
        return f"{self.now_s - began_s:.1f} s"

    # -------------------------------------------------------------------------------------------------------- destroying

    def clear(self) -> None:
        """Destroy all that the set holds, for as long as any of it is listed."""
        self.remove(lambda instance: True)

    def remove(self, is_meant: Callable[[Instance], bool], known: str | None = None, seek_s: float = 0.0) -> None:
        """Destroy until a complete list shows none that is meant. ``known``: an id that is destroyed also when no list shows it;
        ``seek_s``: how long to go on looking when there is none. Ends only when this is so: what is left costs money."""
        began_s, sent_s = self.now_s, dict[str, float]()
        pending = {known} if known else set[str]()
        while True:
            pending = {instance_id for instance_id in sorted(pending) if not self._sent(instance_id, sent_s)}
            looked_s, listing = self.now_s, self.list()
            meant = [one for one in listing.instances if is_meant(one)] if listing is not None else []
            absent = listing is not None and listing.complete and not meant
            # A list from before the last destroy counts may be older than the instance itself.
            certain_s = max([began_s + seek_s, *(at_s + self.pace.lag_s for at_s in sent_s.values())])
            if absent and not pending and looked_s >= certain_s:
                return
            found = {one.id for one in meant if self._is_due(one, sent_s)}
            if not found - pending:
                self.wait(self.pace.list_s)
            pending |= found

    def _sent(self, instance_id: str, sent_s: dict[str, float]) -> bool:
        taken = self.destroy(instance_id)
        if taken:
            sent_s[instance_id] = self.now_s
        return taken

    def _is_due(self, instance: Instance, sent_s: Mapping[str, float]) -> bool:
        """What the cloud says that it is deleting is not asked for once more."""
        if instance.id not in sent_s:
            return True
        return instance.state is not Presence.DELETING and self.now_s >= sent_s[instance.id] + self.pace.destroy_s
