"""A real PostgreSQL server of a test's own: a fresh cluster in a temporary folder, on a local socket and a free loopback port."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.needs import needs_command
from tests.processes import children

USER = "arvados"
DATABASE = "arvados_test"
STARTS_WITHIN_S = 60.0


class Database:
    def __init__(self, folder: Path, binaries: Path, account: str | None, password: str) -> None:
        self.password = password
        self.port = free_port()
        self._folder, self._binaries, self._account = folder, binaries, account
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def connection(self) -> dict[str, Any]:
        """As under ``PostgreSQL.Connection`` of the cluster's configuration."""
        return {"host": "127.0.0.1", "port": self.port, "user": USER, "password": self.password, "dbname": DATABASE}

    @property
    def local_connection(self) -> dict[str, Any]:
        return {**self.connection, "host": str(self._folder)}

    def prepare(self) -> None:
        words = self._folder / "password"
        words.write_text(self.password, encoding="utf-8")
        if self._account:
            shutil.chown(self._folder, self._account)
            shutil.chown(words, self._account)
        fast = ["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"]
        self._run("initdb", "--pgdata", str(self._folder / "data"), "--username", USER, f"--pwfile={words}", *fast)

    def start(self) -> None:
        options = ["-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-k", str(self._folder), "-c", "fsync=off"]
        log = (self._folder / "log").open("ab")
        with log:
            self._server = subprocess.Popen(
                [self._binaries / "postgres", "-D", str(self._folder / "data"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._account,
                cwd=self._folder,
            )
        until_s = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            assert time.monotonic() < until_s, (self._folder / "log").read_text(errors="replace")
            time.sleep(0.1)

    def stop(self) -> None:
        if self._server is not None:
            self.signal(signal.SIGCONT)
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(30)
            self._server = None

    def become_copy(self) -> None:
        """From the next start on it follows another server, which it never finds."""
        (self._folder / "data" / "standby.signal").touch()

    def signal(self, number: int) -> None:
        """To the server and all its sessions."""
        assert self._server is not None
        for pid in (self._server.pid, *children(self._server.pid)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # a session may have ended in between

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(**self.connection, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(query.encode()).fetchall()

    def _answers(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, (self._folder / "log").read_text(errors="replace")
        try:
            with psycopg.connect(**{**self.connection, "dbname": "postgres"}, autocommit=True, connect_timeout=5) as connection:
                if not connection.execute(b"SELECT 1 FROM pg_database WHERE datname = 'arvados_test'").fetchall():
                    connection.execute(b"CREATE DATABASE arvados_test")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._binaries / program, *arguments]
        done = subprocess.run(
            command, user=self._account, cwd=self._folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def database() -> Iterator[Database]:
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a short path: it holds a socket, and another user enters it
    server = Database(folder, binaries, _account(), secrets.token_hex(16))
    try:
        server.prepare()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    """Debian keeps them outside of PATH."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")) and not shutil.which("postgres"):
        needs_command("pg_ctlcluster", package="postgresql", service="postgresql")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else Path(needs_command("postgres", package="postgresql")).parent


def _account() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
