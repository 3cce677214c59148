"""The process that plays one machine: it boots, answers over SSH, executes commands, and takes everything with it when it ends.

Started as ``python -m drivers.local.instance FOLDER DATA_FOLDER LOCK``. It outlives whoever started it, adopts every process
that it caused, and ends when it is told to (TERM) or when its folder is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko

from drivers.local import commands, processes
from drivers.local.folder import InstanceFolder, read_json, read_text, write_text
from drivers.ssh_server import SSHServer, load_private_key, quiet_library

PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36
NAME = b"local-instance"  # what ps shows; at most 15 bytes
HOUSEKEEPING_S = 0.5
DRAIN_S = 0.3  # how long output is waited for after a command ended: something it started may hold the pipe
MAX_COLLECTED_BYTES = 1 << 20
INIT_TIMEOUT_S = 600.0


Taker = Callable[[bytes], Any]


class Gone(Exception):
    """It is time to end."""


class Machine:
    """One instance, from its boot to its end."""

    def __init__(self, folder: InstanceFolder, data_folder: Path) -> None:
        self._folder = folder
        self._inode = folder.path.stat().st_ino
        self._environment = commands.environment(folder, data_folder)
        self._told_to_end = False
        self._started_s = time.monotonic()
        self._running: set[int] = set()  # commands that have a thread waiting for them
        self._running_lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def live(self) -> None:
        """Boot, serve, end."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._end_soon)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # wakes us: there is something to reap
        try:
            self._boot()
            while True:
                self._rest(HOUSEKEEPING_S)
        except Gone:
            self._end()

    def _end_soon(self, number: int, frame: object) -> None:
        self._told_to_end = True

    # ---------------------------------------------------------------------------------------------------------------- boot

    def _boot(self) -> None:
        """The port is ours at once and refuses connections until the boot is over."""
        facts = read_json(self._folder.facts)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        host, port = listener.getsockname()
        self._rest_until(float(facts["create_time_s"]))
        write_text(self._folder.address, f"{host}:{port}")
        self._rest_until(float(facts["boot_time_s"]))
        self._run_init_script()
        server = SSHServer(
            listener,
            host_key=load_private_key(read_text(self._folder.host_key)),
            authorized_keys=read_text(self._folder.authorized_keys).splitlines(),
            handler=self.execute,
            name=self._folder.id,
        )
        server.start()

    def _run_init_script(self) -> None:
        """As cloud-init would, as far as a folder can be a machine. A failure is logged and the boot goes on."""
        script = commands.localised(read_text(self._folder.init_script))
        process = self._spawn(script, stdin=subprocess.DEVNULL, stdout=None, stderr=None)
        deadline_s = time.monotonic() + INIT_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline_s:
            self._rest(HOUSEKEEPING_S)
        self._forget(process)
        if process.returncode != 0:
            say(f"the init script ended with {process.returncode}")

    # ------------------------------------------------------------------------------------------------------------- commands

    def execute(self, command: str, channel: paramiko.Channel) -> int:
        """Run one command of an SSH client; its exit status."""
        if (known := commands.ANSWERS.get(command.removeprefix("sudo "))) is not None:
            channel.sendall(known)
            return 0
        pipe = subprocess.PIPE
        process = self._spawn(commands.localised(command), stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            threading.Thread(target=_feed, args=(channel, process), name="stdin", daemon=True).start()
            if commands.names_machine_path(command):
                _send_translated(command, process, channel)
            else:
                _pump(process, channel.sendall, channel.sendall_stderr)
            return _exit_status(process.wait())
        finally:
            self._forget(process)

    def _spawn(self, script: str, *, stdin: int | None, stdout: int | None, stderr: int | None) -> subprocess.Popen[bytes]:
        with self._running_lock:
            if self._told_to_end:
                raise OSError("the instance ends")
            process = subprocess.Popen(
                ["/bin/sh", "-c", script],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=self._folder.home,
                env=self._environment,
                start_new_session=True,
            )
            self._running.add(process.pid)
        return process

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        """From here on it is reaped like everything else that nobody waits for."""
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        with self._running_lock:
            self._running.discard(process.pid)

    # --------------------------------------------------------------------------------------------------------- housekeeping

    def _rest_until(self, age_s: float) -> None:
        while (left_s := self._started_s + age_s - time.monotonic()) > 0:
            self._rest(min(left_s, HOUSEKEEPING_S))

    def _rest(self, timeout_s: float) -> None:
        """Wait for a signal or the time, then look after things. Raises Gone."""
        with contextlib.suppress(InterruptedError):
            select.select([self._wake_read], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        self._reap_orphans()
        if self._told_to_end or not self._has_folder():
            raise Gone

    def _has_folder(self) -> bool:
        try:
            return self._folder.path.stat().st_ino == self._inode
        except OSError:
            return False

    def _reap_orphans(self) -> None:
        """Take away the remains of adopted processes; whom a thread waits for is left to it."""
        with self._running_lock:
            while True:
                try:
                    seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                except ChildProcessError:
                    return
                if seen is None or seen.si_pid in self._running:
                    return
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(seen.si_pid, os.WNOHANG)

    def _end(self) -> None:
        """Nobody who was started here lives on."""
        self._told_to_end = True
        with self._running_lock:
            pass  # whoever was about to start something has started it
        processes.kill_below(os.getpid())
        with self._running_lock:
            self._running.clear()
        self._reap_orphans()


# ----------------------------------------------------------------------------------------------------------- one command


def _feed(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    """Standard input, up to its end or that of the channel."""
    pipe = process.stdin
    assert pipe is not None
    with contextlib.suppress(OSError, ValueError):
        while part := channel.recv(65536):
            pipe.write(part)
            pipe.flush()
    with contextlib.suppress(OSError, ValueError):
        pipe.close()


def _send_translated(command: str, process: subprocess.Popen[bytes], channel: paramiko.Channel) -> None:
    """Collect what is printed, since a path must not be cut in two."""
    output, errors = bytearray(), bytearray()
    _pump(process, output.extend, errors.extend)
    channel.sendall(commands.globalised(bytes(output[:MAX_COLLECTED_BYTES]), command))
    channel.sendall_stderr(commands.globalised(bytes(errors[:MAX_COLLECTED_BYTES]), command))


def _pump(process: subprocess.Popen[bytes], take_output: Taker, take_errors: Taker) -> None:
    """Pass on what is printed until the command ended and nothing more comes."""
    handle = os.pidfd_open(process.pid)
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, take_output)
        selector.register(process.stderr, selectors.EVENT_READ, take_errors)
        selector.register(handle, selectors.EVENT_READ)
        timeout_s: float | None = None
        while len(selector.get_map()) > (0 if timeout_s is not None else 1):
            ready = selector.select(timeout_s)
            if not ready:
                break
            for key, _ in ready:
                if key.fd == handle:
                    selector.unregister(handle)
                    timeout_s = DRAIN_S
                elif part := os.read(key.fd, 65536):
                    key.data(part)
                else:
                    selector.unregister(key.fileobj)
    os.close(handle)


def _exit_status(returned: int) -> int:
    """As a shell reports the end by a signal."""
    return 128 - returned if returned < 0 else returned


# -------------------------------------------------------------------------------------------------------------------- start


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")
    sys.stderr.flush()


def stand_alone() -> None:
    """Nothing of whoever started us but the lock. Commands do not inherit it: ``Popen`` closes what it is not told to pass."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    library = ctypes.CDLL(None)
    library.prctl(PR_SET_NAME, NAME, 0, 0, 0)
    library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.umask(0o077)
    quiet_library()


def main(arguments: list[str]) -> None:
    folder, data_folder, lock = InstanceFolder(Path(arguments[0])), Path(arguments[1]), int(arguments[2])
    stand_alone()
    os.write(lock, str(os.getpid()).encode())
    Machine(folder, data_folder).live()
    say("ended")
    sys.stderr.flush()
    os._exit(0)  # threads that serve a connection end with us


if __name__ == "__main__":
    main(sys.argv[1:])
