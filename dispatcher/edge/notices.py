"""What an instance is told of its own end by its cloud: asked for in the very command that lists its processes.

A driver names the command and reads what it prints. Whether it succeeds decides nothing: the list stands before it.
"""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.frozen import dataclass

MARK = "--- notices ---"
MOST_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """Why an instance is about to end, or empty; and in how many seconds, when that is known."""

    text: str = ""
    ends_in_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """``command`` is a shell's; ``parse(what it printed, name of the instance)`` is why it is about to end, or empty."""

    command: str
    parse: Callable[[str, str], str | Announced]


def announced(notices: Notices | None, said: str, name: str) -> Announced:
    """What the instance of this name was told."""
    found = notices.parse(said, name) if notices is not None and said else ""
    return Announced(text=found) if isinstance(found, str) else found


def with_notices(command: str, notices: Notices) -> str:
    """The command, then the question; the status is that of the command."""
    asked = f"{{ {notices.command}; }} 2>/dev/null </dev/null | head -c {MOST_BYTES}"
    return f"{command}; s=$?; printf '\\n%s\\n' '{MARK}'; {asked}; exit $s"


def apart(stdout: bytes) -> tuple[bytes, str]:
    """What the command printed, and what the cloud said."""
    listed, _, said = stdout.partition(f"\n{MARK}\n".encode())
    return listed, said.decode("utf-8", "replace")
