"""The dispatcher as a service: gunicorn with exactly one worker, in which the daemon's threads live.

Two workers would be two dispatchers. So the number of workers is pinned, and of the signals that make gunicorn fork more of
them TTIN, TTOU, USR2 and WINCH are ignored and HUP goes to the running worker, which reads its settings anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from dispatcher.frozen import dataclass
from dispatcher.web.access import AccessLog
from dispatcher.web.notify import service_manager
from dispatcher.web.request_log import RequestLog
from dispatcher.web.requests import CONNECTIONS, THREADS
from dispatcher.web.supervisor import Daemon, Supervisor

INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "GUNICORN_PID", "GUNICORN_FD")

Build = Callable[[], Daemon]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where and how to serve. ``listen``: ``host:port``, ``[v6]:port`` or ``unix:path``; systemd's sockets win over it.
    ``announce`` is told the addresses once they are open. ``stop_s`` must be shorter than ``graceful_s``."""

    listen: tuple[str, ...] = ("127.0.0.1:9006",)
    threads: int = THREADS
    graceful_s: int = 30
    stop_s: float = 25.0
    silence_s: int = 30  # a worker whose main thread is silent for so long is killed
    client_patience_s: int = 15  # a client that says nothing for so long loses its connection and gives its thread back
    certificate: Path | None = None
    key: Path | None = None
    announce: Callable[[tuple[str, ...]], None] | None = None


def serve(build: Build, serving: Serving) -> None:
    """Serve until a signal ends it; ends by SystemExit: 0 in good order, 3 when the daemon could not be built.

    The worker is a fork of this process and ends inside this call: what the caller does afterwards runs in the first process
    only.
    """
    first = os.getpid()
    application = Application(build, serving)
    try:
        OneWorker(application).run()
    except SystemExit as end:
        if os.getpid() == first:
            raise
        leave(end.code)


def leave(code: object) -> None:
    """End a forked worker at once: nothing of the caller's own cleaning up may run a second time."""
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


class Application(BaseApplication):  # type: ignore[misc]
    """What gunicorn asks for its settings and for the WSGI application; it lives on both sides of the fork."""

    def __init__(self, build: Build, serving: Serving) -> None:
        self.build = build
        self.serving = serving
        self.manager = service_manager(os.environ)
        self.supervisor: Supervisor | None = None
        for name in INHERITED:  # the arbiter would say READY before there is a daemon
            os.environ.pop(name, None)
        super().__init__()

    def load_config(self) -> None:
        for name, value in settings(self.serving).items():
            if name in self.cfg.settings:  # some exist only in newer versions
                self.cfg.set(name, value)
        self.cfg.set("when_ready", self.opened)
        self.cfg.set("post_fork", self.forked)
        self.cfg.set("post_worker_init", self.loaded)
        self.cfg.set("worker_exit", self.left)

    def load(self) -> Any:
        """Runs in the worker. The daemon finds out what there is while the pages are made ready."""
        daemon = self.build()
        self.supervisor = Supervisor(daemon, self.manager, stop_s=self.serving.stop_s)
        self.supervisor.begin()
        return RequestLog(daemon.app)

    def opened(self, arbiter: Any) -> None:
        for listener in arbiter.LISTENERS:
            bound_patience(listener.sock, self.serving.client_patience_s)
        if self.serving.announce is not None:
            self.serving.announce(tuple(str(listener) for listener in arbiter.LISTENERS))

    def forked(self, arbiter: Any, worker: Any) -> None:
        self.manager.tell(WATCHDOG="1")
        if os.geteuid() != 0:  # gunicorn 20.1 sets even the user that it already is, which a sandbox refuses; 0 means: do not
            worker.cfg.set("user", 0)
            worker.cfg.set("group", 0)

    def loaded(self, worker: Any) -> None:
        if self.supervisor is not None:
            self.supervisor.start()

    def left(self, arbiter: Any, worker: Any) -> None:
        if self.supervisor is not None:
            self.supervisor.wait()


def settings(serving: Serving) -> dict[str, Any]:
    """gunicorn's settings, by name."""
    made: dict[str, Any] = {
        "bind": list(serving.listen),
        "workers": 1,
        "threads": serving.threads,
        "worker_connections": CONNECTIONS,
        "keepalive": 0,  # before a next request gunicorn would wait for the rest of a body that was refused unread
        "worker_class": "dispatcher.web.worker.Worker",  # as text: version 20.1 takes no class
        "worker_tmp_dir": runtime_folder(),
        "logger_class": AccessLog,
        "timeout": serving.silence_s,
        "graceful_timeout": serving.graceful_s,
        "preload_app": False,  # threads do not live through a fork
        "control_socket_disable": True,  # it could add workers, and its thread would live in the forking process
        "umask": 0o117,  # a unix socket is for its owner and group
    }
    if serving.certificate is not None:
        made |= {"certfile": str(serving.certificate), "keyfile": str(serving.key or serving.certificate)}
    return made


def runtime_folder() -> str | None:
    """Where the worker's sign of life is kept. /dev/shm cannot be written by every service user."""
    first = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return first if first and os.access(first, os.W_OK | os.X_OK) else None


def bound_patience(listener: socket.socket, patience_s: int) -> None:
    """Connections inherit it: 20.1 would read from a silent client for ever, and eight such clients fill all threads."""
    patience = struct.pack("ll", patience_s, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)


class OneWorker(Arbiter):  # type: ignore[misc]
    """gunicorn's first process, pinned to one worker whatever signals or $WEB_CONCURRENCY say."""

    def __init__(self, application: Application) -> None:
        self._signs: dict[int, tuple[float, float]] = {}  # pid → its last sign of life, and when we saw it change
        super().__init__(application)

    @property
    def num_workers(self) -> int:
        return 1

    @num_workers.setter
    def num_workers(self, value: int) -> None:
        pass

    def _ignored(self) -> None:
        self.log.warning("this signal would change the number of workers, which is one: ignored")

    handle_ttin = handle_ttou = handle_usr2 = handle_winch = _ignored

    def handle_hup(self) -> None:
        self.log.info("reload: asking the worker")
        self.kill_workers(SIGHUP)

    def handle_int(self) -> None:
        """Ctrl-C ends in the same order as TERM."""
        self.handle_term()

    def murder_workers(self) -> None:
        """20.1 compares wall clocks, and a clock that was set would kill a healthy worker: believe it only when our own
        monotonic clock agrees."""
        if any(self._silent_s(pid, worker) > self.timeout for pid, worker in list(self.WORKERS.items())):
            super().murder_workers()

    def _silent_s(self, pid: int, worker: Any) -> float:
        now_s = time.monotonic()
        try:
            sign = worker.tmp.last_update()
        except (OSError, ValueError):
            return 0.0
        if self._signs.get(pid, (None, 0.0))[0] != sign:
            self._signs = {known: seen for known, seen in self._signs.items() if known in self.WORKERS}
            self._signs[pid] = (sign, now_s)
        return now_s - self._signs[pid][1]
