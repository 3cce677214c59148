"""What a leader holds: a claim that can be taken, proved and lost. A database session is one, an open lock file another."""

from __future__ import annotations

from typing import Protocol


class ClaimError(Exception):
    """The claim cannot be taken or proved. The text says why, and what to do when somebody has to do something."""


class Claim(Protocol):
    """One attempt to lead: a database session, an open lock file. Every method raises ClaimError."""

    def acquire(self) -> bool:
        """Try once, without waiting."""

    def prove(self) -> None:
        """Raise unless it is still ours."""

    def holder(self) -> str:
        """Who has it instead."""

    def close(self) -> None:
        """Let go. Raises nothing."""
