"""Only one acts: with a real PostgreSQL server, and with a lock file."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dispatcher.edge.leader import US, ClaimError, FileLeader, Leader, LockFile, PostgresLeader
from dispatcher.edge.postgres import Session
from tests.edge.database import Database, database, free_port
from tests.processes import told_by_all

PATIENCE_S = 40.0


class Term:
    """What a leader told, in order: ``None`` for gained, a text for lost or waiting."""

    def __init__(self, make: Callable[..., Leader], interval_s: float = 0.2) -> None:
        self.told: list[str | None] = []
        self.stop = threading.Event()
        self.leader = make(
            on_gained=lambda: self.told.append(None), on_lost=self.told.append, stop=self.stop, interval_s=interval_s
        )  # fmt: skip
        self._thread = threading.Thread(target=self.leader.run, name="leader")

    def __enter__(self) -> Term:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.leader.close(30)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def waits_until(self, true: Callable[[Term], bool], what: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not true(self):
            assert time.monotonic() < until_s, f"{what}: {self.told}"
            time.sleep(0.02)

    def leads(self) -> None:
        self.waits_until(lambda term: term.leader.leading, "does not lead")

    def tells(self, pattern: str) -> None:
        self.waits_until(lambda term: bool(term.told and re.search(pattern, term.told[-1] or "")), f"not told {pattern}")


# ------------------------------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    with database() as running:
        yield running


def by(connection: dict[str, Any], **more: Any) -> Callable[..., Leader]:
    return lambda **options: PostgresLeader({**connection, **more}, **options)


def test_the_second_waits_names_the_first_and_takes_over(server: Database) -> None:
    """While one leads the other is told who does; when the first ends the second begins."""
    with Term(by(server.connection)) as first:
        first.leads()
        with Term(by(server.connection)) as second:
            second.tells(r"a client at 127\.0\.0\.1:\d+ \(cloud-dispatcher\) holds lock 10005 of PostgreSQL database")
            assert None not in second.told
            first.leader.close()
            second.leads()
            second.waits_until(lambda term: term.told[-1] is None, "not told")
            assert second.leader.holder == US
    assert first.told == [None]  # an orderly end is no loss


def test_a_holder_of_another_kind_keeps_us_out(server: Database) -> None:
    """Every dispatcher of a cluster takes the same lock by the same call, whatever it is written in."""
    with psycopg.connect(**server.local_connection, autocommit=True) as other:
        assert other.execute("SELECT pg_try_advisory_lock(10005)").fetchall() == [(True,)]
        with Term(by(server.connection)) as ours:
            ours.tells("a client at the database host itself holds lock 10005")
            other.execute("SELECT pg_advisory_unlock(10005)")
            ours.leads()
            assert other.execute("SELECT pg_try_advisory_lock(10005)").fetchall() == [(False,)]


def test_a_lock_of_another_key_or_form_does_not_count(server: Database) -> None:
    """The two-part key and another database's lock are different locks."""
    with psycopg.connect(**server.connection, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(0, 10005), pg_advisory_lock(10006)")
        with Term(by(server.connection)) as ours:
            ours.leads()
            time.sleep(0.5)
            assert ours.told == [None]


def test_a_cut_connection_ends_the_term_and_another_begins(server: Database) -> None:
    """The loss is told before anything else, then we apply again."""
    with Term(by(server.connection)) as ours:
        ours.leads()
        server.ask("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 10005")
        ours.waits_until(lambda term: len(term.told) > 1, "loss not told")
        assert "the connection is lost" in (ours.told[1] or "")
        ours.waits_until(lambda term: term.told.count(None) == 2, "not regained")


def test_a_loss_is_known_at_once_to_whoever_asks(server: Database) -> None:
    """Between two looks of the loop nobody else would say it; and a standby proves nothing."""
    with Term(by(server.connection), interval_s=60.0) as ours:
        ours.leads()
        assert ours.leader.proves_to_lead()
        with Term(by(server.connection)) as second:
            second.tells("holds lock 10005")
            assert not second.leader.proves_to_lead()
            server.ask("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 10005")
            second.leads()
            assert (ours.leader.leading, ours.leader.proves_to_lead()) == (True, False)
            assert second.leader.proves_to_lead()


def test_who_was_stopped_proves_nothing(server: Database) -> None:
    """The claim was let go with the term."""
    with Term(by(server.connection)) as ours:
        ours.leads()
        ours.leader.close()
        assert not ours.leader.proves_to_lead()


def test_many_may_ask_at_once(server: Database) -> None:
    """A session answers one question at a time, so that they queue up behind each other and the loop's own."""
    with Term(by(server.connection), interval_s=0.001) as ours, ThreadPoolExecutor(8) as pool:
        ours.leads()
        assert all(pool.map(lambda number: ours.leader.proves_to_lead(), range(200)))
        assert ours.told == [None]


def test_a_session_that_lost_its_lock_leads_no_longer(server: Database) -> None:
    """An open connection proves nothing, nor does somebody else's lock or another lock of ours: this very one is looked for."""
    with closing(Session(server.connection)) as ours, closing(Session(server.connection)) as other:
        assert ours.acquire()
        ours.prove()
        ours._ask("SELECT pg_advisory_unlock(10005)")
        ours._ask("SELECT pg_advisory_lock(0, 10005)")
        assert other.acquire()
        with pytest.raises(ClaimError, match="the session lost its lock"):
            ours.prove()
        other.prove()


def test_another_cluster_on_the_same_server_is_no_holder(server: Database) -> None:
    """Each database has its own lock 10005."""
    elsewhere = closing(Session({**server.connection, "dbname": "postgres"}))
    with elsewhere as other, closing(Session(server.connection)) as ours:
        assert other.acquire()
        assert ours.holder() == "nobody: it was just let go"
        assert ours.acquire()


def test_a_server_that_hangs_with_its_connections_open_ends_the_term() -> None:
    """No packet is missing and no connection is closed; still nobody proves to us that we lead."""
    with database() as hung, Term(by(hung.connection)) as ours:
        ours.leads()
        hung.signal(signal.SIGSTOP)
        try:
            ours.tells("no answer within 3 s")
            assert not ours.leader.leading
        finally:
            hung.signal(signal.SIGCONT)
        ours.leads()


def test_a_server_that_is_away_is_told_and_waited_for() -> None:
    """At the start and after a restart alike."""
    with database() as away:
        away.stop()
        with Term(by(away.connection)) as ours:
            ours.tells(rf"PostgreSQL database arvados_test at 127\.0\.0\.1 port {away.port}: no connection: .*refused")
            away.start()
            ours.leads()
            away.stop()
            ours.waits_until(lambda term: not term.leader.leading, "still leads")
            away.start()
            ours.leads()


def test_a_read_only_copy_is_refused() -> None:
    """It would give us a lock of its own, which keeps nobody out."""
    with database() as copy:
        copy.stop()
        copy.become_copy()
        copy.start()
        with pytest.raises(ClaimError, match="is a read-only copy, whose locks keep nobody out; name the primary server"):
            Session(copy.connection)


def test_the_password_is_shown_nowhere(server: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in what is told nor in a log nor in the process list, also when it is refused."""
    caplog.set_level(logging.DEBUG)
    with Term(by(server.connection, password="wrong-" + server.password)) as refused:
        refused.tells("password authentication failed")
        shown = f"{refused.told} {caplog.text} {refused.leader!r} {vars(refused.leader)}"
    with Term(by(server.connection)) as ours:
        ours.leads()
        shown += f"{ours.told} {caplog.text} {told_by_all('cmdline')}"
    assert server.password not in shown


@pytest.mark.parametrize(
    "parameters",
    [
        {"password": "hunter22", "port": "hunter22"},
        {"dbname": "postgresql://arvados:hunter22@127.0.0.1:1/arvados"},
        {"dbname": "host=127.0.0.1 port=1 password=hunter22"},
    ],
)
def test_a_password_in_the_wrong_place_is_not_shown_either(parameters: dict[str, Any]) -> None:
    """libpq shows values that it cannot read, and takes whole connection strings for database names."""
    with pytest.raises(ClaimError) as caught:
        Session(parameters)
    assert "hunter22" not in str(caught.value)


def test_an_option_that_libpq_does_not_know_is_told() -> None:
    """The configuration names parameters of the client library."""
    with pytest.raises(ClaimError, match="hots"):
        Session({"hots": "db.example", "password": "secret"})


def test_starts_of_the_leader_before_us_are_waited_for() -> None:
    """They may be under way for as long as a start may take; on one host a killed process has no more of them."""
    options: dict[str, Any] = {"on_gained": lambda: None, "on_lost": lambda holder: None, "stop": threading.Event()}
    leader = PostgresLeader({"port": free_port()}, start_timeout_s=60.0, **options)
    assert (leader.quiet_s, FileLeader("lock", **options).quiet_s) == (70.0, 5.0)


# -------------------------------------------------------------------------------------------------------------- lock file


def on(path: Path) -> Callable[..., Leader]:
    return lambda **options: FileLeader(path, **options)


HOLDS = """
import sys, threading
from dispatcher.edge.leader import FileLeader
gained = lambda: print("leads", flush=True)
FileLeader(sys.argv[1], on_gained=gained, on_lost=print, stop=threading.Event()).run()
"""


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "leads\n"
            yield process
        finally:
            process.kill()


def test_another_process_is_named_and_its_end_is_ours_to_begin(tmp_path: Path) -> None:
    """Also an end by kill -9 frees the lock at once."""
    path = tmp_path / "state" / "lock"
    with another_process(path) as process, Term(on(path)) as ours:
        ours.tells(rf"process {process.pid} on this host holds {path}$")
        assert None not in ours.told
        process.kill()
        ours.leads()
        assert path.read_text() == f"{os.getpid()}\n"


def test_two_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    """The lock belongs to the open file, not to the process."""
    with Term(on(tmp_path / "lock")) as first:
        first.leads()
        with Term(on(tmp_path / "lock")) as second:
            second.tells(rf"process {os.getpid()} on this host")
            first.leader.close()
            second.leads()


def test_a_removed_lock_file_ends_the_term(tmp_path: Path) -> None:
    """Its lock keeps nobody out any more; we apply again with a new file."""
    path = tmp_path / "lock"
    with Term(on(path)) as ours:
        ours.leads()
        path.unlink()
        ours.waits_until(lambda term: term.told.count(None) == 2, "not regained")
        assert "the lock file is gone" in (ours.told[1] or "")


def test_a_replaced_lock_file_ends_the_term(tmp_path: Path) -> None:
    """Somebody else may hold the new one."""
    path = tmp_path / "lock"
    with Term(on(path)) as ours:
        ours.leads()
        (tmp_path / "new").touch()
        (tmp_path / "new").rename(path)
        ours.waits_until(lambda term: len(term.told) > 1, "loss not told")
        assert "was replaced" in (ours.told[1] or "")


def test_a_place_that_cannot_hold_a_lock_file_is_told_with_the_mend() -> None:
    """The kernel's own read-only folder stands for a read-only file system."""
    with pytest.raises(ClaimError, match=r"^/sys/kernel/lock: the lock file cannot be opened: .*; make its folder writable or"):
        LockFile(Path("/sys/kernel/lock"))


def test_a_mended_place_is_used_without_a_restart(tmp_path: Path) -> None:
    """The same news is told once, however often it is tried."""
    (tmp_path / "state").touch()  # a file where the folder should be
    path = tmp_path / "state" / "lock"
    with Term(on(path)) as ours:
        ours.tells("the lock file cannot be opened")
        time.sleep(1.0)
        assert len(ours.told) == 1
        (tmp_path / "state").unlink()
        ours.leads()


def test_a_full_disk_keeps_nobody_from_leading() -> None:
    """What is written into the file is for messages only; /dev/full refuses every byte."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    claim = LockFile(Path("/dev/full"))
    assert claim.acquire()
    claim.close()


def test_a_symbolic_link_is_no_lock_file(tmp_path: Path) -> None:
    """Whoever may write into the folder cannot make us write elsewhere."""
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ClaimError, match="it is a symbolic link"):
        LockFile(tmp_path / "lock")


def test_a_bug_in_a_callback_ends_the_term_and_not_the_thread(tmp_path: Path) -> None:
    """It is logged with its traceback, and tried again."""
    calls: list[str] = []

    def fails_once() -> None:
        calls.append("gained")
        if len(calls) == 1:
            raise ZeroDivisionError

    with Term(lambda **options: FileLeader(tmp_path / "lock", **{**options, "on_gained": fails_once})) as ours:
        ours.waits_until(lambda term: len(calls) == 2, "not tried again")
    assert ours.told == ["ZeroDivisionError; see the log"]
