"""The file of the audit log: opened for each entry, so that it may be renamed at any time, and only ever appended to.

A file that cannot be written stops nothing: what is missing there is counted, said once, and goes to the ordinary log.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable

FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
MODE = 0o640
DECISION = "decision"  # the message of what the dispatcher decided by itself; every other is a person's act

log = logging.getLogger(__name__)


class AuditFile(logging.Handler):
    """``problem`` is why the last entry could not be written, ``failures`` how many could not so far. ``otherwise`` is handed
    the entries that nobody else logs when they cannot be written here."""

    def __init__(self, path: str, otherwise: Callable[[logging.LogRecord], object] | None = None) -> None:
        super().__init__()
        self.path = path
        self.problem, self.failures = "", 0
        self._otherwise = otherwise
        os.close(os.open(path, FLAGS, MODE))

    def emit(self, record: logging.LogRecord) -> None:
        """A person's act is on the disk before it is answered. A decision of ours is left to the kernel to write: it would
        hold up the next ones, and what came of it can be seen in the cloud."""
        try:
            line = self.format(record).encode("utf-8", "replace") + b"\n"
            append(self.path, line, durable=record.getMessage() != DECISION)
        except OSError as error:
            self._failed(record, error.strerror or str(error))
        except Exception as bug:  # noqa: BLE001 - logged; who only wanted to write something down must go on
            self._failed(record, f"{type(bug).__name__}: {bug}")
        else:
            self._recovered()

    def _failed(self, record: logging.LogRecord, why: str) -> None:
        known, self.problem = self.problem, f"AuditLog: {self.path} cannot be written: {why}"
        self.failures += 1
        if self.problem != known:
            log.error("%s", self.problem)
        if self._otherwise is not None and record.getMessage() == DECISION:  # acts of people stand there anyway
            self._otherwise(record)

    def _recovered(self) -> None:
        if self.problem:
            log.warning("AuditLog: %s can be written again; %d entries are missing there so far", self.path, self.failures)
            self.problem = ""


def append(path: str, line: bytes, *, durable: bool) -> None:
    """One line at the end. The rest of one that a full disk cut off is ended first, it spoils no other. Raises OSError."""
    file = os.open(path, FLAGS, MODE)
    try:
        _write(file, (b"\n" if _is_cut_off(file) else b"") + line)
        if durable:
            _sync(file)
    finally:
        os.close(file)


def _is_cut_off(file: int) -> bool:
    known = os.fstat(file)
    return stat.S_ISREG(known.st_mode) and known.st_size > 0 and os.pread(file, 1, known.st_size - 1) != b"\n"


def _write(file: int, line: bytes) -> None:
    while line:
        line = line[os.write(file, line) :]


def _sync(file: int) -> None:
    """A pipe or a device has nothing to bring to a disk."""
    if stat.S_ISREG(os.fstat(file).st_mode):
        os.fdatasync(file)
