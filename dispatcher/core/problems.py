"""What kept a probe from succeeding, in the few kinds that lead to different mends."""

from __future__ import annotations

import enum


class ProbeProblem(enum.StrEnum):
    """What kept a probe from succeeding."""

    NONE = ""
    NO_ADDRESS = "no address"
    UNREACHABLE = "unreachable"  # no TCP connection, or lost
    TIMEOUT = "timeout"
    HOST_KEY = "host key"  # it is not the machine that we made
    LOGIN = "login"  # our key or user was refused
    COMMAND = "command"  # a command ran and failed
