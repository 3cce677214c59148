"""The event service of the cluster, as a source of hints: something changed, look now. What an event says is no fact to us.

One thread keeps one socket. While there is none, nothing but the polls' pace changes; it is tried again with a growing, jittered
delay. Facts about the service: a text frame subscribes, every change of an object is a frame of its own, and of a container or
request it tells the kind of the event and, of what changed, no more than the state.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any
from urllib.parse import quote

import websocket

from dispatcher.edge import transport
from dispatcher.frozen import dataclass
from dispatcher.secrecy import Known

SUBSCRIBE = json.dumps({"method": "subscribe", "filters": [["event_type", "in", ["create", "update", "delete"]]]})
CONTAINERS, REQUESTS = "-dz642-", "-xvhdp-"
OUR_OWN_ECHO = frozenset({"Locked", "Running"})  # we wrote the one, and a runner that we started the other
SETTLED = frozenset({"Uncommitted", "Final"})  # requests that change nothing in the queue any more, or yet

CONNECT_TIMEOUT_S = 10.0
LOOK_S = 1.0  # so often the thread looks whether it shall end
QUIET_S = 20.0  # without a frame for so long, we ask whether anybody is there
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0
LASTED_S = 60.0  # a connection that lasted so long ends a row of failures
LARGEST_FRAME = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventService:
    """``url`` with its path, ws or wss."""

    url: str
    token: str = field(repr=False)
    ca_file: str | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """``container``: what it is about, if that is known; ``ended``: it is over."""

    container: str = ""
    ended: bool = False


class ServiceSilent(Exception):
    """What the service said, or did not say, in words."""


class Events:
    """``hinted(hint)`` is called for every change that may matter. ``flowing(bool)`` says whether hints come."""

    def __init__(
        self, service: EventService, *, hinted: Callable[[Hint], None], flowing: Callable[[bool], None], stop: threading.Event,
        log: logging.Logger | None = None,
    ) -> None:  # fmt: skip
        self._service, self._stop = service, stop
        self._hinted, self._flowing = hinted, flowing
        self._log = log or logging.getLogger(__name__)
        self._known = Known([service.token])
        self._failures = 0

    def run(self) -> None:
        """The body of its thread: ends when asked, within a second or two."""
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                self._once()
            except Exception as error:  # noqa: BLE001 - what is no WebSocket makes the library raise anything
                self._tell(error)
            self._failures = 1 if time.monotonic() - began_s > LASTED_S else self._failures + 1
            self._stop.wait(self._pause_s())

    def _pause_s(self) -> float:
        longest_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 10))
        return longest_s * random.uniform(0.5, 1.0)

    def _tell(self, error: Exception) -> None:
        """Once for each row of failures: nothing depends on it but speed."""
        if self._stop.is_set() or self._failures > 0:
            return
        text = self._known.blank(f"{type(error).__name__}: {error}"[:500])
        self._log.warning("no events from %s: the queue is polled more often meanwhile: %s", self._service.url, text)

    def _once(self) -> None:
        """One socket from its beginning to its end."""
        socket = self._connect()
        try:
            socket.send(SUBSCRIBE)
            self._listen(socket)
        finally:
            self._flowing(False)
            socket.close(timeout=1)

    def _connect(self) -> websocket.WebSocket:
        service = self._service
        trust = {"context": transport.plain_tls_context(service.ca_file, insecure=service.insecure)}
        socket = websocket.WebSocket(sslopt=trust, skip_utf8_validation=True)  # decoding looks too
        socket.settimeout(CONNECT_TIMEOUT_S)
        socket.connect(f"{service.url}?api_token={quote(service.token, safe='')}", redirect_limit=0)  # type: ignore[no-untyped-call]
        socket.settimeout(LOOK_S)
        return socket

    def _listen(self, socket: websocket.WebSocket) -> None:
        heard_s, asked = time.monotonic(), False
        while not self._stop.is_set():
            try:
                kind, data = socket.recv_data(control_frame=True)
            except websocket.WebSocketTimeoutException:
                quiet_s = time.monotonic() - heard_s
                if quiet_s > 2 * QUIET_S:
                    raise ServiceSilent(f"nothing was heard for {quiet_s:.0f} s") from None
                if quiet_s > QUIET_S and not asked:
                    socket.ping()
                    asked = True
                continue
            heard_s, asked = time.monotonic(), False
            if kind == websocket.ABNF.OPCODE_CLOSE:
                raise ServiceSilent("the service closed the connection")
            if kind == websocket.ABNF.OPCODE_TEXT:
                self._heard(data)

    def _heard(self, data: bytes) -> None:
        if len(data) > LARGEST_FRAME:
            raise ServiceSilent(f"a frame of {len(data)} bytes")
        said = json.loads(data.decode())
        if not isinstance(said, dict):
            raise ServiceSilent("a frame that is no JSON object")
        if "status" in said and "object_uuid" not in said:
            self._subscribed(said["status"])
        elif (hint := hint_of(said)) is not None:
            self._hinted(hint)

    def _subscribed(self, status: object) -> None:
        if status != 200:
            raise ServiceSilent(f"the subscription was answered with status {status}")
        self._log.info("events come from %s: the queue is polled as they tell", self._service.url)
        self._failures = 0
        self._flowing(True)
        self._hinted(Hint())  # what happened while nobody listened


def hint_of(event: Mapping[str, Any]) -> Hint | None:
    """None: it concerns nobody, or is the echo of what we did. A request may change the priority of any container and does not
    say of which; only a new one is about nobody who runs."""
    uuid, state = event.get("object_uuid"), _state_of(event)
    if not isinstance(uuid, str):
        return None
    if CONTAINERS in uuid:
        return None if state in OUR_OWN_ECHO else Hint(container=uuid, ended=state == "Complete")
    if REQUESTS in uuid and state not in SETTLED:
        return Hint(container=uuid) if event.get("event_type") == "create" else Hint()
    return None


def _state_of(event: Mapping[str, Any]) -> str | None:
    """After the change; None when the event does not say."""
    at: Any = event
    for name in ("properties", "new_attributes", "state"):
        at = at.get(name) if isinstance(at, dict) else None
    return at if isinstance(at, str) else None
