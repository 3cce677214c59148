"""Requests as they are measured: how many, how long, how long they waited for a thread. It stands around the application.

Requests for metrics and health are timed like all others, and are not counted as work in progress: a scrape would see itself.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatcher.meters import catalogue as c
from dispatcher.meters.instruments import Board
from dispatcher.web.exchange import Answer

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

THREADS = 8
CONNECTIONS = 1000  # that gunicorn holds open at once; who comes later waits in the backlog
UNSEEN = ("/metrics", "/metrics.json", "/_health/ping")
METHODS = frozenset({"get", "head", "post", "put", "patch", "delete", "options", "trace", "connect"})
ACTIVE = "dispatcher.active_request"  # in the environment of a request
QUEUE, NORMAL = "api", "normal"

Environ = dict[str, Any]


class Waits:
    """How long connections wait for a thread. gunicorn's worker tells; the application's threads report it with the request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[int, float] = {}  # id of a connection → when it began to wait
        self._here = threading.local()

    def begin(self, connection: object) -> None:
        with self._lock:
            self._since[id(connection)] = time.monotonic()

    def end(self, connection: object) -> None:
        """Its thread, which is the calling one, has it now."""
        with self._lock:
            since_s = self._since.pop(id(connection), None)
        self._here.waited_s = time.monotonic() - since_s if since_s is not None else 0.0

    def of_this_thread(self) -> float:
        """How long the request that this thread now begins has waited; told once."""
        waited_s: float = getattr(self._here, "waited_s", 0.0)
        self._here.waited_s = 0.0
        return waited_s

    def waiting(self) -> int:
        with self._lock:
            return len(self._since)


WAITS = Waits()
"""Of this process, which has one worker."""


@dataclass(slots=True, eq=False)
class _Active:
    """A request in progress. ``counts``: as work in progress. ``abandoned_s``: when a scrape first saw that its client had hung
    up. ``told``: what it asks, once it is known that it may."""

    since_s: float
    socket: Any
    counts: bool = True
    abandoned_s: float | None = None
    told: Mapping[str, Any] | None = None


class Requests:
    """WSGI middleware, and the source of what it measured."""

    def __init__(self, waits: Waits = WAITS, *, threads: int = THREADS, now: Callable[[], float] = time.monotonic) -> None:
        self._waits, self._threads, self._now = waits, threads, now
        self._board = Board((c.QUEUE_DELAY, c.QUEUE_TIMEOUT, c.REQUEST_DURATION, c.TIME_TO_STATUS))
        self._lock = threading.Lock()
        self._active: set[_Active] = set()

    def around(self, application: Any) -> Callable[[Environ, Any], Iterable[bytes]]:
        """The application, measured."""

        def call(environ: Environ, start_response: Any) -> Iterable[bytes]:
            request = _Request(self, environ, self._now())
            environ[ACTIVE] = request.active
            self._begin(request.active)
            try:
                answer = application(environ, request.starting(start_response))
            except BaseException:
                self.end(request)
                raise
            return Answer(answer, lambda: self.end(request))

        return call

    def _begin(self, active: _Active) -> None:
        self._board.observe(c.QUEUE_DELAY, self._waits.of_this_thread(), QUEUE, NORMAL, at_s=active.since_s)
        with self._lock:
            self._active.add(active)

    def end(self, request: _Request) -> None:
        with self._lock:
            self._active.discard(request.active)
        now_s, began_s = self._now(), request.active.since_s
        labels = (request.code, request.method)
        self._board.observe(c.REQUEST_DURATION, now_s - began_s, *labels, at_s=now_s)
        status_s = request.status_s if request.status_s is not None else now_s
        self._board.observe(c.TIME_TO_STATUS, status_s - began_s, *labels, at_s=now_s)

    def admitted(self, environ: Environ, told: Mapping[str, Any] | None) -> None:
        """What a request asks, for who looks; None when it is answered."""
        active = environ.get(ACTIVE)
        if isinstance(active, _Active):
            active.told = told

    def shown(self) -> list[dict[str, Any]]:
        """What is being answered, the oldest first."""
        with self._lock:
            known = sorted(self._active, key=lambda each: each.since_s)
        now_s = self._now()
        return [{**each.told, "elapsed_s": round(now_s - each.since_s, 3)} for each in known if each.told is not None]

    def now(self) -> float:
        return self._now()

    def collect(self) -> Iterator[Metric]:
        now_s = self._now()
        with self._lock:
            active = [each for each in self._active if each.counts]
        queued = dict.fromkeys(((QUEUE, priority) for priority in c.PRIORITIES), 0.0)
        queued[QUEUE, NORMAL] = float(self._waits.waiting())
        yield c.CONCURRENT.family([((QUEUE,), float(len(active)))])
        yield c.MAX_CONCURRENT.family([((QUEUE,), float(self._threads))])
        yield c.QUEUED.family(queued.items())
        yield c.MAX_QUEUED.family([((QUEUE,), float(CONNECTIONS - self._threads))])
        yield c.OLDEST_REQUEST.family([((), max((now_s - each.since_s for each in active), default=0.0))])
        yield c.OLDEST_ABANDONED.family([((), max((_abandoned_s(each, now_s) for each in active), default=0.0))])
        yield from self._board.families(now_s)


class _Request:
    """One request: what it asked for, and the status of its answer as soon as there is one."""

    def __init__(self, requests: Requests, environ: Environ, now_s: float) -> None:
        self._requests = requests
        method = str(environ.get("REQUEST_METHOD", "")).lower()
        self.method = method if method in METHODS else "unknown"
        self.active = _Active(now_s, environ.get("gunicorn.socket"), environ.get("PATH_INFO") not in UNSEEN)
        self.code = "500"
        self.status_s: float | None = None

    def starting(self, start_response: Any) -> Callable[..., Any]:
        def start(status: str, *rest: Any, **more: Any) -> Any:
            self.code, self.status_s = status.partition(" ")[0], self._requests.now()
            return start_response(status, *rest, **more)

        return start


def _abandoned_s(active: _Active, now_s: float) -> float:
    if active.abandoned_s is None and _hung_up(active.socket):
        active.abandoned_s = now_s
    return now_s - active.abandoned_s if active.abandoned_s is not None else 0.0


def _hung_up(socket: Any) -> bool:
    """Whether the other side has closed its end; asked of the descriptor, so that nothing is read away."""
    try:
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))
    except (AttributeError, OSError, ValueError):
        return False
