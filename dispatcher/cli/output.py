"""Where a command writes to may be closed or full: neither is a fault of the program, and neither ends in a traceback.

A closed output is one that nobody wants: the command does its work and ends with its usual status. A full one is told.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dispatcher.cli.operate.ends import FAILED, Ended

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def open_what_is_closed() -> None:
    """Python has no stream for a descriptor that was closed (``>&-``); the next file that is opened would get its number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115


@contextmanager
def writing() -> Iterator[None]:
    """Raises Ended when the output cannot be written. Errors that name a file are about that one."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or error.filename is not None:
            raise
        _drop_what_is_left()
        raise Ended(FAILED, f"the output cannot be written: {os.strerror(error.errno)}; where does it go?") from None


def _drop_what_is_left() -> None:
    """What is still buffered would fail again when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
