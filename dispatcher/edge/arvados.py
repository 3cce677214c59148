"""The queue service as a port: lists, reads, locks, unlocks and cancels containers through the Arvados API.

It decides nothing and retries nothing. A record that cannot be understood is set aside with its reason; an answer from which
one could wrongly conclude that a container does not exist is refused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from dispatcher.core.messages import PAGE, Look, QueueError, QueueFailure, Records, Sight, Span
from dispatcher.core.model import ContainerRecord
from dispatcher.edge.http import Client, Endpoint
from dispatcher.edge.pages import Asked, Found, Page, Parsed, Walk, name_of
from dispatcher.edge.records import POLL_FIELDS, READ_FIELDS, WRITE_FIELDS, NotUnderstood, is_container_uuid, parse_record

if TYPE_CHECKING:
    import tenacity

CONTAINERS = "arvados/v1/containers"
CURRENT_TOKEN = "arvados/v1/api_client_authorizations/current"  # noqa: S105 - a path, no secret
READ_BATCH = 100
LARGEST_POLL = 100_000  # of our own containers; what lies behind them is asked for by uuid when it matters
LONGEST_POLL_S = 600.0

_LOCKED_BY_US = "of our containers"
_QUEUED = "of the queue"
_WAITING = [["state", "=", "Queued"], ["priority", ">", "0"]]
_IN_TURN = ["priority desc", "created_at", "uuid"]  # as ``Place`` has it; each has to be selected too


class ArvadosQueue:
    """Implements ``QueuePort``. Any number of threads may call at once. ``largest_poll`` bounds the list of what we hold."""

    def __init__(self, endpoint: Endpoint, log: logging.Logger | None = None, *, largest_poll: int = LARGEST_POLL) -> None:
        self._log = log or logging.getLogger(__name__)
        self._client = Client(endpoint, self._log)
        self._token_lock = threading.Lock()
        self._token_uuid = ""
        self._largest_poll = largest_poll
        self._last_ours: dict[str, Parsed] = {}
        self._last_queued: dict[str, Parsed] = {}

    def describe(self) -> str:
        return self._client.describe()

    def close(self) -> None:
        self._client.close()

    # ---------------------------------------------------------------------------------------------------------- start-up

    def check(self, stop: threading.Event, patience_s: float = 300.0) -> str:
        """Wait until the service answers and knows our token; return the token's uuid.

        Raises QueueError at once when it refuses the token, else when ``patience_s`` have passed or ``stop`` is set."""
        import tenacity  # here: the daemon does not wait, and its start not for this

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=tenacity.wait_exponential(multiplier=0.5, max=15) + tenacity.wait_random(0, 1),
            stop=tenacity.stop_any(tenacity.stop_after_delay(patience_s), tenacity.stop_when_event_set(stop)),
            sleep=tenacity.sleep_using_event(stop),
            before_sleep=self._tell_retry,
            reraise=True,
        )
        return retrying(self.token_uuid)

    def _tell_retry(self, attempt: tenacity.RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        self._log.warning("the queue service does not answer yet (attempt %d): %s", attempt.attempt_number, error)

    def token_uuid(self) -> str:
        with self._token_lock:
            if not self._token_uuid:
                uuid = self._client.read(CURRENT_TOKEN).get("uuid")
                if not isinstance(uuid, str) or "-gj3su-" not in uuid:
                    self._refuse(f"GET {CURRENT_TOKEN}: the answer names no token")
                self._token_uuid = uuid
            return self._token_uuid

    # ------------------------------------------------------------------------------------------------------------- lists

    def poll(self, look: Look) -> Sight:
        """What we hold, then what waits: a container that moves between the two lists shows its later state."""
        asked = Asked(self._list, time.monotonic() + LONGEST_POLL_S)
        ours, waiting = Found(self._last_ours), Found(self._last_queued)
        if look.own:
            self._ours(look, asked, ours)
            self._last_ours = {} if look.full else ours.parsed
        span = self._queued(look, asked, waiting)
        if look.size >= PAGE and look.at_top:
            self._last_queued = {} if look.full else waiting.parsed
        counted = asked.page(filters=_WAITING, limit=0, exact=True).available if look.count else span.waiting
        return ours.joined(waiting, replace(span, waiting=counted, lists=asked.lists))

    def _ours(self, look: Look, asked: Asked, found: Found) -> None:
        """By keyset: a page begins after the last uuid of the page before, so nothing is skipped while records change. The count
        that comes with a page proves that it is the last one; without it only an empty page does, since a short one may have
        been cut by its size."""
        mine = ["locked_by_uuid", "=", self.token_uuid()]
        last, seen = "", 0
        while seen < self._largest_poll:
            filters = [mine, ["uuid", ">", last]] if last else [mine]
            page = asked.page(order="uuid", filters=filters, exact=True, full=look.full)
            found.take(page.items, _LOCKED_BY_US, full=look.full)
            seen += len(page.items)
            if page.is_last:
                return
            named = [name for item in page.items if (name := name_of(item))]
            if not named or named[-1] == last:
                found.rejected[f"page after {last or 'the start'} {_LOCKED_BY_US}"] = "names no record to go on from"
                return
            last = named[-1]
        self._log.warning("more than %d containers are locked by us: the rest is not listed", self._largest_poll)

    def _queued(self, look: Look, asked: Asked, found: Found) -> Span:
        """By priority, then by age. What leaves the queue meanwhile shifts others past us: a known one is then asked for by
        uuid, a new one shows in a later look."""
        filters: list[Any] = list(_WAITING)
        offset = 0
        if look.after is not None:
            filters, offset = [*filters, ["priority", "<=", look.after.priority]], look.after.passed
        walk = Walk(look)
        while walk.left > 0:
            page = asked.page(
                order=_IN_TURN, filters=filters, offset=offset + walk.read, limit=walk.left, exact=look.exact, full=look.full
            )
            found.take(page.items, _QUEUED, full=look.full)
            walk.step(page, offset)
        return walk.span(found)

    def _list(
        self, *, filters: list[Any], order: Any = None, limit: int = PAGE, offset: int = 0, exact: bool = False,
        full: bool = False,
    ) -> Page:  # fmt: skip
        parameters = {"select": list(READ_FIELDS if full else POLL_FIELDS), "order": order, "limit": limit}
        parameters |= {"count": "exact" if exact else "none", "filters": filters}
        if offset:
            parameters["offset"] = offset
        answer = self._client.read(CONTAINERS, parameters)
        items, available = answer.get("items"), answer.get("items_available")
        if not isinstance(items, list):
            self._refuse(f"GET {CONTAINERS}: the answer holds no list of items")
        return Page(items=items, available=available if exact and type(available) is int else None)

    # ------------------------------------------------------------------------------------------------------------- reads

    def read(self, uuids: Sequence[str]) -> Records:
        """Asks until each one was answered or an empty page says that the rest does not exist."""
        found = Found()
        asked = list(dict.fromkeys(uuids))
        for uuid in asked:
            if not is_container_uuid(uuid):
                found.rejected[uuid] = "is not the uuid of a container"
        valid = [uuid for uuid in asked if is_container_uuid(uuid)]
        for start in range(0, len(valid), READ_BATCH):
            self._read_batch(valid[start : start + READ_BATCH], found)
        return found.records()

    def _read_batch(self, uuids: list[str], found: Found) -> None:
        missing = uuids
        while missing:
            items = self._list(order="uuid", filters=[["uuid", "in", missing]], full=True).items
            if not items:
                return
            found.take([item for item in items if name_of(item) in missing], "asked for", full=True)
            left = [uuid for uuid in missing if not found.names(uuid)]
            if len(left) == len(missing):  # something was answered, so it is not proved that they do not exist
                found.rejected |= dict.fromkeys(left, "the service answers with records that were not asked for")
                return
            missing = left

    # ------------------------------------------------------------------------------------------------------------ writes

    def lock(self, uuid: str) -> ContainerRecord:
        return self._write("POST", uuid, "/lock")

    def unlock(self, uuid: str) -> ContainerRecord:
        """The answer may be Cancelled: the service gives up after too many attempts."""
        return self._write("POST", uuid, "/unlock")

    def runtime_status(self, uuid: str) -> Mapping[str, object]:
        """What stands there now: a write replaces all of it. Raises QueueError also when there is no such container."""
        if not is_container_uuid(uuid):
            self._refuse(f"{uuid!a} is not the uuid of a container", status=None)
        path = f"{CONTAINERS}/{uuid}"
        status = self._client.read(path, {"select": ["uuid", "runtime_status"]}).get("runtime_status") or {}
        if not isinstance(status, dict):
            self._refuse(f"GET {path}: runtime_status is no object")
        return status

    def cancel(self, uuid: str, runtime_status: Mapping[str, str]) -> ContainerRecord:
        """State and reason in one request. The reason is more than a courtesy: the service refuses one for a container that
        is Complete, which a bare cancel would turn into Cancelled."""
        status = {**runtime_status, "error": runtime_status.get("error") or "cancelled by the dispatcher"}
        try:
            return self._update(uuid, {"state": "Cancelled", "runtime_status": status})
        except QueueError as refused:
            if not _reason_refused(refused.failure):
                raise
            return self._cancel_bare(uuid, refused)

    def _cancel_bare(self, uuid: str, refused: QueueError) -> ContainerRecord:
        """Another token holds it, so that we may end it but not say why; or it has ended, and then it is left alone."""
        record = next(iter(self.read([uuid]).records), None)
        if record is None:
            raise refused
        return record if record.state.final else self._update(uuid, {"state": "Cancelled"})

    def _update(self, uuid: str, container: Mapping[str, Any]) -> ContainerRecord:
        return self._write("PUT", uuid, "", {"container": container, "select": list(WRITE_FIELDS)})

    def _write(self, method: str, uuid: str, verb: str, parameters: Mapping[str, Any] | None = None) -> ContainerRecord:
        if not is_container_uuid(uuid):
            self._refuse(f"{uuid!a} is not the uuid of a container", status=None)
        path = f"{CONTAINERS}/{uuid}{verb}"
        answer = self._client.write(method, path, parameters)
        try:
            record = parse_record(answer)
        except NotUnderstood as error:
            self._refuse(f"{method} {path}: the answer is not understood: {error}", cause=error)
        if record.uuid != uuid:
            self._refuse(f"{method} {path}: the answer is about {record.uuid}")
        return record

    def _refuse(self, text: str, status: int | None = 200, cause: Exception | None = None) -> NoReturn:
        raise QueueError(QueueFailure(text=f"{self._client.place}: {text}", status=status)) from cause


def _reason_refused(failure: QueueFailure) -> bool:
    return failure.status == 422 and "runtime status" in failure.text.lower()


def _may_pass(error: BaseException) -> bool:
    """A refusal (4xx) stays one until somebody changes something; anything else may pass by itself."""
    return isinstance(error, QueueError) and not 400 <= (error.failure.status or 0) < 500
