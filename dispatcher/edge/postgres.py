"""The cluster's lock: advisory lock 10005 of its PostgreSQL database, which every Arvados dispatcher takes before it acts.

It belongs to one database session. No question to that session is waited for longer than its limit, even when the server
hangs with its connection open: a session that does not answer proves nothing.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.pq import ExecStatus

from dispatcher.edge.claim import ClaimError

LOCK_KEY = 10005
CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 3.0  # with the interval of the checks: a loss is known within 5 s

# A lock of one 64-bit key shows its halves as classid and objid, and objsubid 1.
_OURS = f"""
    FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database AND datname = current_database()
    WHERE locktype = 'advisory' AND classid = 0 AND objid = {LOCK_KEY} AND objsubid = 1 AND granted"""
TRY = f"SELECT pg_try_advisory_lock({LOCK_KEY})"
PROVE = f"SELECT count(*) {_OURS} AND pid = pg_backend_pid()"
HOLDER = f"""
    SELECT coalesce(host(client_addr) || ':' || client_port, 'the database host itself'), application_name
    FROM (SELECT pid AS holder {_OURS}) AS held LEFT JOIN pg_stat_activity ON pg_stat_activity.pid = holder"""  # noqa: S608
IN_RECOVERY = "SELECT pg_is_in_recovery()"

_PLAIN = re.compile(r"[\w./:,()\[\]-]+")

_PATIENCE = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives": 1,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 4000,
    "application_name": "cloud-dispatcher",
}


class Session:
    """One connection, whose end is the end of the claim. Implements ``leader.Claim``.

    ``parameters`` are libpq's; what the site does not set gets short time limits, so that a cut line is noticed."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._password = str(parameters.get("password") or "")
        self._place = _place(parameters)
        given = {name: str(value) for name, value in parameters.items() if value not in (None, "")}
        try:
            self._connection = psycopg.connect(autocommit=True, **{**_PATIENCE, **given})  # type: ignore[arg-type]
        except psycopg.Error as error:
            raise self._failure("no connection", error) from error
        try:
            self._check_primary()
        except ClaimError:
            self.close()
            raise

    def acquire(self) -> bool:
        return self._ask(TRY) == [["t"]]

    def prove(self) -> None:
        if self._ask(PROVE) != [["1"]]:
            raise ClaimError(f"{self._place}: the session lost its lock; connect to the server itself, not to a pooler")

    def holder(self) -> str:
        rows = self._ask(HOLDER)
        if not rows:
            return "nobody: it was just let go"
        address, application = rows[0]
        return f"a client at {address}{f' ({application})' if application else ''} holds lock {LOCK_KEY} of {self._place}"

    def close(self) -> None:
        self._connection.close()

    def _check_primary(self) -> None:
        if self._ask(IN_RECOVERY) != [["f"]]:
            raise ClaimError(f"{self._place}: is a read-only copy, whose locks keep nobody out; name the primary server")

    def _ask(self, query: str) -> list[list[str | None]]:
        try:
            return _ask(self._connection.pgconn, query)
        except TimeoutError as error:
            raise ClaimError(f"{self._place}: no answer within {ANSWER_TIMEOUT_S:g} s") from error
        except (psycopg.Error, OSError) as error:
            raise self._failure("the connection is lost", error) from error

    def _failure(self, what: str, error: Exception) -> ClaimError:
        """The library shows values that it cannot read, and one of them may be the password in the wrong place."""
        text = f"{self._place}: {what}: {' '.join(str(error).split())[:500]}"
        return ClaimError(text.replace(self._password, "(password)") if self._password else text)


def _ask(connection: Any, query: str) -> list[list[str | None]]:
    """Rows of texts. By libpq's non-blocking calls, because a blocking one waits for a hung server for ever."""
    until_s = time.monotonic() + ANSWER_TIMEOUT_S
    connection.send_query(query.encode())
    while connection.flush():
        _wait(connection.socket, select.POLLOUT, until_s)
    rows: list[list[str | None]] = []
    while True:
        while connection.is_busy():
            _wait(connection.socket, select.POLLIN, until_s)
            connection.consume_input()
        result = connection.get_result()
        if result is None:
            return rows
        if result.status != ExecStatus.TUPLES_OK:
            raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
        rows = [[_text(result.get_value(row, column)) for column in range(result.nfields)] for row in range(result.ntuples)]


def _wait(socket: int, event: int, until_s: float) -> None:
    poll = select.poll()  # select() fails beyond a thousand open connections
    poll.register(socket, event)
    left_s = until_s - time.monotonic()
    if left_s <= 0 or not poll.poll(left_s * 1000):
        raise TimeoutError


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _place(parameters: Mapping[str, Any]) -> str:
    """For messages. A database name may be a whole connection string, password included: what is not plain is not shown."""
    defaults = {"dbname": "(default)", "host": "(local)", "port": "5432"}
    words = [str(parameters.get(name) or default) for name, default in defaults.items()]
    shown = [word if _PLAIN.fullmatch(word) else "(not shown)" for word in words]
    return "PostgreSQL database {} at {} port {}".format(*shown)
