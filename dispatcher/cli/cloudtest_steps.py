"""The steps of ``cloudtest``: create one instance, find it listed and tagged, boot it, run a command there, destroy it.

What can go on after a problem goes on; however it ends, also by Ctrl-C, what was made is destroyed first. Ports, time and words
are handed in, and nothing here prints.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Protocol

from dispatcher.cli.cloudtest_cloud import CloudSide, Notes
from dispatcher.core.messages import CloudFailure, ProbeReport, Target
from dispatcher.driver import CreateRequest, HostKey, Instance, Presence
from dispatcher.edge.instances import CommandReport
from dispatcher.edge.ssh.address import parse_address
from dispatcher.edge.ssh.hostkeys import fingerprint
from dispatcher.frozen import dataclass


class Machine(Protocol):
    """What is used of the dispatcher's own way to instances, which speaks to none that it cannot identify."""

    def boots(self, target: Target) -> ProbeReport: ...
    def command(self, target: Target, command: str, *, timeout_s: float) -> CommandReport: ...
    def close(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be tried. ``secret`` is what the instance shows to prove which one it is; ``retag`` is set after the create."""

    request: CreateRequest
    secret: str
    retag: Mapping[str, str]
    ssh_port: int = 22
    destroy_existing: bool = False
    command: str = ""
    command_timeout_s: float = 600.0


class Stopped(Exception):
    """The test cannot go on; the text says why."""


class CloudTest:
    """One test of one instance. ``pause`` is called before the instance is destroyed."""

    def __init__(
        self, wish: Wish, side: CloudSide, machine: Machine, notes: Notes, pause: Callable[[], None] = lambda: None
    ) -> None:
        self._wish, self._side, self._machine, self._notes, self._pause = wish, side, machine, notes, pause
        self._asked_s: float | None = None  # from then on there may be something to destroy
        self._id: str | None = None
        self._operation: str | None = None
        self._poll_due_s = 0.0
        self._refused: CloudFailure | None = None
        self._found: Instance | None = None
        self._shown: tuple[str, tuple[HostKey, ...]] = ("", ())

    def run(self) -> bool:
        """Whether all went well; ``notes`` has the problems."""
        try:
            self._try_out()
        except KeyboardInterrupt:
            self._notes.interrupt()
        finally:
            self._destroy()
        return not self._notes.problems

    def _try_out(self) -> None:
        try:
            self._require_empty()
            self._create()
            self._wait_until_listed()
            self._check_tags("tags", self._wish.request.tags)
            self._retag()
            self._boot()
            self._run_command()
        except Stopped as stopped:
            self._notes.problem(str(stopped))
        if self._found is not None:
            self._pause()

    # ------------------------------------------------------------------------------------------------------------- before

    def _require_empty(self) -> None:
        """Another test, or a dispatcher, may be at work in this set."""
        there: list[Instance] = []

        def look() -> str:
            listing = self._side.list()
            there[:] = listing.instances if listing is not None else ()
            return "" if there or (listing is not None and listing.complete) else "no complete list"

        self._until("list", self._side.pace.boot_s, self._side.pace.list_s, look)
        if not there:
            return
        names = ", ".join(one.id for one in there[:10])
        if not self._wish.destroy_existing:
            raise Stopped(f"the set has {len(there)} instances already ({names}); --destroy-existing destroys them first")
        self._notes.tell(f"the set has {len(there)} instances already ({names}): they are destroyed")
        self._side.clear()

    # ------------------------------------------------------------------------------------------------------------- create

    def _create(self) -> None:
        self._asked_s = self._side.now_s
        created = self._side.create(self._wish.request)
        if isinstance(created, CloudFailure):
            self._refused = created
        else:
            self._id, self._operation = created.id, created.operation

    def _patience_s(self) -> float:
        """A create that failed may have made an instance all the same; one that was plainly refused is not doubted for long."""
        if self._refused is None or self._refused.outcome_unknown:
            return self._side.pace.boot_s
        return self._seek_s()

    def _seek_s(self) -> float:
        """So long a list may take to show what was made just now."""
        pace = self._side.pace
        return pace.lag_s + 2 * pace.destroy_s

    def _wait_until_listed(self) -> None:
        if self._refused is not None:
            self._notes.tell(f"it is looked for all the same, for {self._patience_s():.0f} s at most")
        self._until("listed", self._patience_s(), self._side.pace.list_s, self._look)

    def _look(self) -> str:
        """One look at the cloud; why it is not there yet, or an empty text."""
        self._ask_how_create_stands()
        listing = self._side.list()
        if listing is None:
            return "the list failed"
        mine = [one for one in listing.instances if self._is_mine(one)]
        if len(mine) > 1:
            self._notes.problem(f"one create made {len(mine)} instances: {', '.join(one.id for one in mine)}")
        if not mine:
            return "no list shows it" if listing.complete else "the list is not complete"
        self._take(mine[0])
        return ""

    def _take(self, one: Instance) -> None:
        self._found = one
        if self._id is not None and one.id != self._id:
            self._notes.problem(f"create named the id {self._id}, the list names {one.id}")
        if one.name != self._wish.request.name:
            self._notes.problem(f"the list shows the name {one.name!r}, not {self._wish.request.name!r}")
        if one.provider_type != self._wish.request.instance_type.provider_type:
            self._notes.problem(f"the list shows the type {one.provider_type!r}, not the one that was asked for")
        if one.state is not Presence.PRESENT:
            raise Stopped(f"the cloud lists it as {one.state}" + (f": {one.failure.text}" if one.failure else ""))

    def _is_mine(self, one: Instance) -> bool:
        return one.name == self._wish.request.name or one.id == self._id

    def _ask_how_create_stands(self) -> None:
        if self._operation is None or self._side.now_s < self._poll_due_s:
            return
        answer = self._side.poll_create(self._operation)
        self._poll_due_s = self._side.now_s + self._side.pace.list_s
        if isinstance(answer, CloudFailure):
            raise Stopped(f"the cloud accepted the create and failed later: {answer.text}")
        if answer:
            self._operation = None
            self._notes.tell(f"create: done after {self._side.now_s - (self._asked_s or 0.0):.1f} s")

    # --------------------------------------------------------------------------------------------------------------- tags

    def _check_tags(self, what: str, wanted: Mapping[str, str]) -> None:
        """That they never come is a problem, and no reason to stop. Values are never told: one of them is the secret."""

        def wrong() -> str:
            missing = self._look()
            tags = self._found.tags if self._found is not None else {}
            names = sorted(name for name, value in wanted.items() if tags.get(name) != value)
            return missing or (f"not as they were set: {', '.join(names)}" if names else "")

        try:
            self._until(what, self._seek_s(), self._side.pace.list_s, wrong)
        except NotInTime as late:
            self._notes.problem(str(late))

    def _retag(self) -> None:
        """The full map, as the dispatcher sends it: what others put there stays."""
        if self._found is None:
            return
        tags = {**self._found.tags, **self._wish.request.tags, **self._wish.retag}
        if self._side.set_tags(self._found.id, tags):
            self._check_tags("tags after set_tags", {**self._wish.request.tags, **self._wish.retag})

    # --------------------------------------------------------------------------------------------------------------- boot

    def _boot(self) -> None:
        pace = self._side.pace
        left_s = (self._asked_s or 0.0) + pace.boot_s - self._side.now_s
        self._until("boot probe", left_s, pace.probe_s, self._probe)

    def _probe(self) -> str:
        if (missing := self._look()) or self._found is None:
            return missing
        if not self._found.address:
            return "no address"
        target = self._target(self._found)
        self._tell_address(target)
        report = self._machine.boots(target)
        if report.warning:
            self._notes.problem(report.warning)
        return "" if report.booted else report.error or str(report.problem) or "not booted"

    def _target(self, one: Instance) -> Target:
        keys = self._side.host_keys(one)
        return Target(name=one.name, address=one.address, user=one.user, secret=self._wish.secret, host_keys=keys)

    def _tell_address(self, target: Target) -> None:
        """Once for each address, for somebody who wants to look at it."""
        shown = (target.address or "", target.host_keys)
        if shown != self._shown:
            self._shown = shown
            known = ", ".join(fingerprint(key) for key in target.host_keys) or "known by its secret"
            self._notes.tell(f"{ssh_command(target, self._wish.ssh_port)}   (with DispatchPrivateKey; host key: {known})")

    def _run_command(self) -> None:
        if not self._wish.command or self._found is None:
            return
        began_s = self._side.now_s
        report = self._machine.command(self._target(self._found), self._wish.command, timeout_s=self._wish.command_timeout_s)
        for stream, text in (("stdout", report.stdout), ("stderr", report.stderr)):
            for line in text.splitlines():
                self._notes.tell(f"{stream}: {line}")
        took = f"after {self._side.now_s - began_s:.1f} s"
        if report.status != 0:
            ended = report.error if report.status is None else f"exit status {report.status}"
            raise Stopped(f"command failed {took}: {ended}")
        self._notes.tell(f"command: done {took}")

    # ------------------------------------------------------------------------------------------------------------ destroy

    def _destroy(self) -> None:
        """Until it is proved to be gone. The first Ctrl-C ends the test, a second one also this."""
        if self._asked_s is None:
            return
        while True:
            try:
                self._remove(self._asked_s)
                return
            except KeyboardInterrupt:
                if self._notes.interrupted:
                    where = f"{self._wish.request.name} ({self._known() or 'its id is not known'})"
                    self._notes.problem(f"given up: {where} may still be there and cost money: find it and destroy it")
                    return
                self._notes.interrupt()
                self._notes.tell("it is destroyed all the same; a second Ctrl-C gives that up")

    def _remove(self, asked_s: float) -> None:
        began_s = self._side.now_s
        seek_s = 0.0 if self._known() else max(0.0, asked_s + self._seek_s() - began_s)
        self._notes.tell(f"looking for it for {seek_s:.0f} s, then destroying" if seek_s else "destroying")
        self._side.remove(self._is_mine, self._known(), seek_s)
        self._machine.close(self._wish.request.name)
        self._notes.tell(f"destroyed: nothing of it is listed after {self._side.now_s - began_s:.1f} s")

    def _known(self) -> str | None:
        return self._id or (self._found.id if self._found is not None else None)

    # ------------------------------------------------------------------------------------------------------------ helpers

    def _until(self, what: str, limit_s: float, every_s: float, look: Callable[[], str]) -> None:
        """Look again and again until it says nothing more. Each new reason is told once. Raises NotInTime."""
        began_s, told = self._side.now_s, ""
        while missing := look():
            if self._side.now_s >= began_s + limit_s:
                raise NotInTime(f"{what}: not within {max(0.0, limit_s):.0f} s: {missing}")
            if missing != told:
                told = missing
                self._notes.tell(f"{what}: not yet: {missing}")
            self._side.wait(every_s)
        self._notes.tell(f"{what}: ok after {self._side.now_s - began_s:.1f} s")


class NotInTime(Stopped):
    """What was awaited did not come."""


def ssh_command(target: Target, default_port: int) -> str:
    """A line for a shell. What a cloud reports is data, and quoted."""
    try:
        endpoint = parse_address(target.address or "", default_port)
    except ValueError as error:
        return f"no ssh command: {error}"
    return shlex.join(["ssh", "-p", str(endpoint.port), "--", f"{target.user}@{endpoint.host}"])
