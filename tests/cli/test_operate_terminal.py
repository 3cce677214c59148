"""The commands of operators in a real terminal: they ask before they act, redraw, follow its size, and leave it as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from dispatcher.cli.operate.place import TOKEN_VARIABLE, URL_VARIABLE
from tests.cli.operated import our_app, our_view, served
from tests.web.fakes import TOKEN, FakeView

PATIENCE_S = 60.0


class Terminal:
    """A command whose input and outputs are a terminal of so many columns and rows."""

    def __init__(self, url: str, *arguments: str, columns: int = 100, rows: int = 30, **environment: str) -> None:
        self._master, slave = pty.openpty()
        self._size(columns, rows)
        self._seen = b""
        given = {"TERM": "xterm", "PYTHONIOENCODING": "utf-8", URL_VARIABLE: url, TOKEN_VARIABLE: TOKEN, **environment}
        command = [sys.executable, "-m", "dispatcher", *arguments]
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env={**inherited, **given})
        os.close(slave)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        self._size(columns, rows)
        self.process.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, text: str) -> str:
        """What it showed up to this text, which is waited for; what comes after is kept for the next call."""
        deadline_s = time.monotonic() + PATIENCE_S
        while text.encode() not in self._seen:
            assert time.monotonic() < deadline_s, f"{text!r} did not come: {self._seen.decode()!r}"
            assert self._read(), f"it ended before {text!r}: {self._seen.decode()!r}"
        shown, found, self._seen = self._seen.partition(text.encode())
        return (shown + found).decode()

    def _read(self) -> bool:
        """False at the end."""
        if not select.select([self._master], [], [], 1.0)[0]:
            return True
        try:
            part = os.read(self._master, 65536)
        except OSError:  # the other side is gone
            return False
        self._seen += part
        return bool(part)

    def end(self) -> tuple[int, str]:
        """Its status, and the rest of what it showed."""
        while self._read():
            pass
        return self.process.wait(PATIENCE_S), self._seen.decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def view() -> FakeView:
    return our_view()


@pytest.fixture
def url(view: FakeView) -> Iterator[str]:
    with served(our_app(view)) as found:
        yield found


@pytest.fixture
def opened() -> Iterator[list[Terminal]]:
    found: list[Terminal] = []
    yield found
    for terminal in found:
        terminal.close()


def test_a_watch_follows_the_terminal_and_ends_by_ctrl_c(url: str, opened: list[Terminal]) -> None:
    """It is drawn over itself, whole again in another size, and ends well; nothing is hidden and no other screen is used."""
    terminal = Terminal(url, "watch", "--interval", "0.2")
    opened.append(terminal)
    first = terminal.until("name-3")
    assert "\x1b[1" in first
    terminal.until("A\x1b[")  # up by some lines: the second look
    terminal.resize(40, 8)
    terminal.until("\x1b[2J\x1b[H")
    narrow = terminal.until("\x1b[J")
    assert narrow.count("\n") <= 8
    terminal.process.send_signal(signal.SIGINT)
    status, rest = terminal.end()
    assert status == 0
    assert not any(each in first + narrow + rest for each in ("\x1b[?", "Traceback", "Aborted"))


@pytest.mark.parametrize(("answer", "status", "acts"), [("\n", 1, 0), ("y\n", 0, 1)])
def test_a_kill_is_asked_about(answer: str, status: int, acts: int, url: str, view: FakeView, opened: list[Terminal]) -> None:
    """With what it would cost; whoever says nothing has not said yes."""
    terminal = Terminal(url, "instance", "kill", "name-2")
    opened.append(terminal)
    asked = terminal.until("[y/N]")
    assert "name-2" in asked
    assert "kill 1 instance, with 1 running container?" in asked
    terminal.type(answer)
    assert terminal.end()[0] == status
    assert len(view.posted) == acts


def test_a_table_has_colours_unless_they_are_refused(url: str, opened: list[Terminal]) -> None:
    """NO_COLOR is obeyed; a narrow terminal gets fewer columns, and whole names."""
    plain, coloured = Terminal(url, "instance", "list", columns=30, NO_COLOR="1"), Terminal(url, "instance", "list")
    opened.extend((plain, coloured))
    (status, narrow), (_, wide) = plain.end(), coloured.end()
    assert (status, "\x1b" in narrow, "\x1b[32mrunning" in wide) == (0, False, True)
    assert narrow.splitlines()[0].split() == ["INSTANCE", "STATE", "BEHAVIOR"]
    assert wide.splitlines()[0].count("CONTAINERS") == 1
