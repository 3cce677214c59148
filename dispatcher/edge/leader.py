"""Only one acts: whoever holds the claim is the leader, and stops being it the moment that the claim cannot be proved.

The claim is the cluster's PostgreSQL lock that every Arvados dispatcher takes, or a lock file when no database is configured.
It is taken, proved again and again, and lost, in one loop; what a term means is the core's business.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dispatcher.edge.claim import Claim, ClaimError

PROVE_EVERY_S = 2.0
PROOF_AGE_S = 0.05  # another leader looks at the queue, the cloud and its instances before it acts
RECONNECT_AT_MOST_S = 5.0
FILE_QUIET_S = 5.0
POSTGRES_QUIET_MARGIN_S = 10.0

NOBODY = "not known yet"
US = "this process"

__all__ = ["Claim", "ClaimError", "FileLeader", "Leader", "PostgresLeader"]

_log = logging.getLogger(__name__)


class Leader:
    """Takes a claim and watches over it. ``run`` is the thread; callbacks are called from it.

    ``on_gained()`` begins a term. ``on_lost(holder)`` ends it, at once and before anything else is done; while we wait it is
    called again whenever who holds the claim changes. Set ``stop`` only after the last act has ended: it lets go of the claim.
    ``quiet_s`` is how long the acts of an earlier leader may still take effect when a term begins.
    """

    def __init__(
        self,
        open_claim: Callable[[], Claim],
        *,
        quiet_s: float,
        on_gained: Callable[[], None],
        on_lost: Callable[[str], None],
        stop: threading.Event,
        interval_s: float = PROVE_EVERY_S,
    ) -> None:
        self.quiet_s = quiet_s
        self.interval_s = interval_s
        self.holder = NOBODY
        self.leading = False
        self._open_claim = open_claim
        self._on_gained = on_gained
        self._on_lost = on_lost
        self._stop = stop
        self._ended = threading.Event()
        self._running = False
        self._held: Claim | None = None  # while we lead
        self._proved_s = -math.inf
        self._asking = threading.Lock()  # a claim answers one question at a time

    def run(self) -> None:
        """Until ``stop`` is set."""
        self._running = True
        try:
            while not self._stop.is_set():
                self._live_through_one_claim()
                self._stop.wait(self.interval_s)
        finally:
            self._ended.set()

    def close(self, timeout_s: float = 10.0) -> None:
        """Stop, and wait until the claim is free."""
        self._stop.set()
        if self._running:
            self._ended.wait(timeout_s)

    def proves_to_lead(self) -> bool:
        """Ask whoever decides it, now; from any thread. A proof that is just made serves all who ask for one. Not being able to
        prove it is a no: what that means for the term is found out by the loop."""
        with self._asking:
            if self._held is None:
                return False
            try:
                if time.monotonic() - self._proved_s > PROOF_AGE_S:
                    self._prove(self._held)
            except ClaimError as error:
                _log.warning("it cannot be proved that we lead: %s", error)
                return False
        return True

    def _prove(self, claim: Claim) -> None:
        asked_s = time.monotonic()
        claim.prove()
        self._proved_s = asked_s

    # Steps ----------------------------------------------------------------------------------------------------------------

    def _live_through_one_claim(self) -> None:
        with contextlib.ExitStack() as stack:
            try:
                claim = self._opened()
                stack.callback(claim.close)
                self._wait_for(claim)
                self._keep(claim)
            except ClaimError as error:
                self._lose(str(error))
            except Exception as error:  # noqa: BLE001 - a bug here must end the term, not the thread
                _log.exception("watching over the leadership failed")
                self._lose(f"{type(error).__name__}; see the log")
            else:
                self.leading = False  # we were told to stop: this is no loss

    def _opened(self) -> Claim:
        """As a rule at once; what waits and tries again is loaded only when it is needed."""
        try:
            return self._open_claim()
        except ClaimError as error:
            self._lose(str(error))
        return self._opened_in_the_end()

    def _opened_in_the_end(self) -> Claim:
        import tenacity

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ClaimError),
            wait=tenacity.wait_exponential(multiplier=0.25, max=RECONNECT_AT_MOST_S) + tenacity.wait_random(0, 0.5),
            stop=tenacity.stop_when_event_set(self._stop),
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=lambda attempt: self._lose(str(attempt.outcome.exception()) if attempt.outcome else ""),
            reraise=True,
        )
        return retrying(self._open_claim)

    def _wait_for(self, claim: Claim) -> None:
        while not self._stop.is_set() and not claim.acquire():
            self._lose(claim.holder())
            self._stop.wait(self.interval_s)

    def _keep(self, claim: Claim) -> None:
        if self._stop.is_set():
            return
        self.leading, self.holder, self._held, self._proved_s = True, US, claim, -math.inf
        _log.info("we lead")
        self._on_gained()
        try:
            while not self._stop.wait(self.interval_s):
                with self._asking:
                    self._prove(claim)
        finally:
            with self._asking:
                self._held = None

    def _lose(self, holder: str) -> None:
        """Tell the loss, or who it is that we wait for; the same news only once."""
        if not self.leading and holder == self.holder:
            return
        if self.leading:
            _log.error("we no longer lead: %s", holder)
        else:
            _log.warning("waiting to lead: %s", holder)
        self.leading, self.holder = False, holder
        self._on_lost(holder)


class PostgresLeader(Leader):
    """Leads while it holds the cluster's lock. ``start_timeout_s``: how long a start of the leader before us may be under way.

    After a lost connection the old session may keep the lock until the server notices its end; until then nobody leads.
    ``connection`` holds the parameters of ``PostgreSQL.Connection``. Raises ClaimError when there is no client library."""

    def __init__(self, connection: Mapping[str, Any], *, start_timeout_s: float = 60.0, **options: Any) -> None:
        try:
            from dispatcher.edge.postgres import Session
        except ImportError as error:
            raise ClaimError(f"PostgreSQL is configured and its client library is missing ({error}): install libpq5") from error
        parameters = dict(connection)
        super().__init__(lambda: Session(parameters), quiet_s=start_timeout_s + POSTGRES_QUIET_MARGIN_S, **options)


class FileLeader(Leader):
    """Leads while it holds a lock on a file: for one host, when no database is configured."""

    def __init__(self, path: str | Path, **options: Any) -> None:
        super().__init__(lambda: LockFile(Path(path)), quiet_s=FILE_QUIET_S, **options)


# -------------------------------------------------------------------------------------------------------------- lock file


class LockFile:
    """An exclusive lock on a file that names its holder. The kernel frees it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise ClaimError(_cannot_open(path, error)) from error

    def acquire(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise ClaimError(f"{self._path}: cannot be locked: {error.strerror}; choose a folder on a local disk") from error
        self.prove()
        self._sign()
        return True

    def prove(self) -> None:
        """A lock on a file that somebody has removed keeps nobody else out."""
        try:
            there, ours = os.stat(self._path), os.fstat(self._file)
        except OSError as error:
            raise ClaimError(f"{self._path}: the lock file is gone: {error.strerror}") from error
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            raise ClaimError(f"{self._path}: the lock file was replaced; leave it alone while the dispatcher runs")

    def holder(self) -> str:
        with contextlib.suppress(OSError):
            pid = os.pread(self._file, 20, 0).decode("ascii", "replace").strip()
            if pid.isdecimal():
                return f"process {pid} on this host holds {self._path}"
        return f"another process on this host holds {self._path}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._file)

    def _sign(self) -> None:
        """For messages only: a full disk is no reason not to lead."""
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            _log.warning("%s: the process number cannot be written: %s", self._path, error.strerror)


_MENDS = {
    errno.EROFS: "its file system is read-only",
    errno.ENOSPC: "its file system is full",
    errno.EDQUOT: "its disk quota is used up",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.ELOOP: "it is a symbolic link",
}


def _cannot_open(path: Path, error: OSError) -> str:
    reason = _MENDS.get(error.errno or 0, error.strerror or str(error))
    return f"{path}: the lock file cannot be opened: {reason}; make its folder writable or name another one"
