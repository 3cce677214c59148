"""What it means to run a command on an instance: the executor's interface, its result, its one error, its one deadline.

An ``Output`` exists only when the command's exit status came and the other side closed the channel; everything else is a
``RemoteError`` that says how far the command got. No text here ever holds standard input: that is where tokens travel.
"""

from __future__ import annotations

import time
from typing import Protocol

from dispatcher.core.messages import ProbeProblem, Said, Target
from dispatcher.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A command that ran to its end. ``stdout`` and ``stderr`` are whole: a longer output would have been an error."""

    status: int
    stdout: bytes
    stderr: bytes


class RemoteError(Exception):
    """A command did not run to its end, as far as we can know.

    ``problem``  what to do about it
    ``reached``  the right machine answered, whatever happened then
    ``sent``     the command may have left this host: it may run, or have run
    ``said``     the command, and what it answered
    """

    def __init__(
        self, problem: ProbeProblem, text: str, *, reached: bool = False, sent: bool = False, said: Said | None = None
    ) -> None:
        super().__init__(text)
        self.problem = problem
        self.text = text
        self.reached = reached
        self.sent = sent
        self.said = said


def printable(data: bytes, limit: int = 500) -> str:
    """The end of an output as one line for logs and pages: no control characters, bounded, what was left out is shown."""
    text = " ".join(data[-4 * limit :].decode("utf-8", "replace").split())
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean if len(clean) <= limit and len(data) <= 4 * limit else "… " + clean[-limit:]


class Executor(Protocol):
    """Runs commands on instances. Every method may be called from many threads at once."""

    def run(
        self,
        target: Target,
        command: str,
        *,
        timeout_s: float,
        stdin: bytes = b"",
        urgent: bool = False,
        connect_timeout_s: float | None = None,
    ) -> Output:
        """Run one command; ``timeout_s`` bounds it from the free slot to the closed channel. Connecting has a bound of its own,
        ``connect_timeout_s`` where it is given. Urgent commands go before the others. Raises RemoteError."""

    def disconnect(self, name: str) -> None:
        """Cut the connection: what has not left this host yet never will. Keys stay pinned."""

    def forget(self, name: str) -> None:
        """Cut the connection and forget what is pinned: the instance is gone."""

    def stop(self) -> None:
        """Cut everything."""


class Deadline:
    """A moment that must not pass, by the monotonic clock."""

    __slots__ = ("at_s", "total_s")

    def __init__(self, total_s: float) -> None:
        self.total_s = total_s
        self.at_s = time.monotonic() + total_s

    @property
    def left_s(self) -> float:
        return max(0.0, self.at_s - time.monotonic())

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.at_s

    def missed(self, doing: str, *, reached: bool = False, sent: bool = False) -> RemoteError:
        """The error of a deadline that passed while we were ``doing`` something."""
        return RemoteError(ProbeProblem.TIMEOUT, f"{doing}: not done within {self.total_s:g} s", reached=reached, sent=sent)
