"""The queue service as a port: lists, reads, locks, unlocks and cancels containers through the Arvados API.

It decides nothing and retries nothing. A record that cannot be understood is set aside with its reason; an answer from which
one could wrongly conclude that a container does not exist is refused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import tenacity

from dispatcher.core.messages import QueueError, QueueFailure, Records
from dispatcher.core.model import ContainerRecord
from dispatcher.edge.http import Client, Endpoint
from dispatcher.edge.records import POLL_FIELDS, READ_FIELDS, WRITE_FIELDS, NotUnderstood, is_container_uuid, parse_record

CONTAINERS = "arvados/v1/containers"
CURRENT_TOKEN = "arvados/v1/api_client_authorizations/current"  # noqa: S105 - a path, no secret
PAGE = 1000  # the service's own upper limit
READ_BATCH = 100
LARGEST_POLL = 100_000  # records; what lies behind them is asked for by uuid when it matters
LONGEST_POLL_S = 600.0

_LOCKED_BY_US = "of our containers"
_QUEUED = "of the queue"


class ArvadosQueue:
    """Implements ``QueuePort``. Any number of threads may call at once. ``largest_poll`` bounds each of a poll's two lists."""

    def __init__(self, endpoint: Endpoint, log: logging.Logger | None = None, *, largest_poll: int = LARGEST_POLL) -> None:
        self._log = log or logging.getLogger(__name__)
        self._client = Client(endpoint, self._log)
        self._token_lock = threading.Lock()
        self._token_uuid = ""
        self._largest_poll = largest_poll
        self._last_poll: dict[str, _Parsed] = {}

    def describe(self) -> str:
        return self._client.describe()

    def close(self) -> None:
        self._client.close()

    # ---------------------------------------------------------------------------------------------------------- start-up

    def check(self, stop: threading.Event, patience_s: float = 300.0) -> str:
        """Wait until the service answers and knows our token; return the token's uuid.

        Raises QueueError at once when it refuses the token, else when ``patience_s`` have passed or ``stop`` is set."""
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

    def poll(self) -> Records:
        """What we hold, then what waits: a container that moves between the two lists shows its later state."""
        found, until_s = _Found(self._last_poll), time.monotonic() + LONGEST_POLL_S
        for pages, whose in ((self._ours(found), _LOCKED_BY_US), (self._queued(), _QUEUED)):
            for page in pages:
                found.take(page, whose)
                if time.monotonic() > until_s:
                    self._refuse(f"GET {CONTAINERS}: listing took longer than {LONGEST_POLL_S:g} s", status=None)
        self._last_poll = found.parsed
        return found.records()

    def _ours(self, found: _Found) -> Iterator[list[Any]]:
        """By keyset: a page begins after the last uuid of the page before, so nothing is skipped while records change."""
        mine = ["locked_by_uuid", "=", self.token_uuid()]
        last, seen = "", 0
        while seen < self._largest_poll:
            items = self._list(order="uuid", filters=[mine, ["uuid", ">", last]] if last else [mine])
            if not items:  # only an empty page ends a list: a short one may have been cut by its size
                return
            yield items
            seen += len(items)
            named = [item["uuid"] for item in items if isinstance(item, dict) and is_container_uuid(item.get("uuid"))]
            if not named or named[-1] == last:
                found.rejected[f"page after {last or 'the start'} {_LOCKED_BY_US}"] = "names no record to go on from"
                return
            last = named[-1]
        self._log.warning("more than %d containers are locked by us: the rest is not listed", self._largest_poll)

    def _queued(self) -> Iterator[list[Any]]:
        """By offset, as it is the only way by priority. Records that leave the queue meanwhile shift others past us: a known
        one is then asked for by uuid, a new one shows in the next poll."""
        filters = [["state", "=", "Queued"], ["priority", ">", "0"]]
        offset = 0
        while offset < self._largest_poll:
            items = self._list(order="priority desc", filters=filters, offset=offset)
            if not items:
                return
            yield items
            offset += len(items)
        self._log.warning("more than %d containers wait: the rest is not listed", self._largest_poll)

    def _list(self, *, order: str, filters: list[Any], offset: int = 0, fields: Sequence[str] = POLL_FIELDS) -> list[Any]:
        parameters = {"select": list(fields), "order": order, "limit": PAGE, "count": "none", "filters": filters}
        if offset:
            parameters["offset"] = offset
        items = self._client.read(CONTAINERS, parameters).get("items")
        if not isinstance(items, list):
            self._refuse(f"GET {CONTAINERS}: the answer holds no list of items")
        return items

    # ------------------------------------------------------------------------------------------------------------- reads

    def read(self, uuids: Sequence[str]) -> Records:
        """Asks until each one was answered or an empty page says that the rest does not exist."""
        found = _Found()
        asked = list(dict.fromkeys(uuids))
        for uuid in asked:
            if not is_container_uuid(uuid):
                found.rejected[uuid] = "is not the uuid of a container"
        valid = [uuid for uuid in asked if is_container_uuid(uuid)]
        for start in range(0, len(valid), READ_BATCH):
            self._read_batch(valid[start : start + READ_BATCH], found)
        return found.records()

    def _read_batch(self, uuids: list[str], found: _Found) -> None:
        missing = uuids
        while missing:
            items = self._list(order="uuid", filters=[["uuid", "in", missing]], fields=READ_FIELDS)
            if not items:
                return
            found.take([item for item in items if _name(item) in missing], "asked for", full=True)
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


_Parsed = tuple[dict[str, Any], ContainerRecord]


class _Found:
    """What the pages of one question brought, by uuid; a later page wins.

    ``known``: what the last one brought. A container that waits shows the same fields in each poll, and comparing them is
    several times cheaper than understanding them again."""

    def __init__(self, known: Mapping[str, _Parsed] | None = None) -> None:
        self._known = known or {}
        self._records: dict[str, ContainerRecord] = {}
        self.parsed: dict[str, _Parsed] = {}
        self.rejected: dict[str, str] = {}
        self._pages = 0

    def take(self, items: list[Any], whose: str, *, full: bool = False) -> None:
        self._pages += 1
        for number, item in enumerate(items, 1):
            try:
                record = self._understand(item)
                if full and record.requirements is None:
                    raise NotUnderstood("runtime_constraints or mounts is missing")
            except NotUnderstood as error:
                self._set_aside(_name(item) or f"record {number} of page {self._pages} {whose}", str(error))
            else:
                self.rejected.pop(record.uuid, None)
                self._records[record.uuid] = record

    def _understand(self, item: Any) -> ContainerRecord:
        uuid = item.get("uuid") if isinstance(item, dict) else None
        known = self._known.get(uuid) if isinstance(uuid, str) else None
        record = known[1] if known is not None and known[0] == item else parse_record(item)
        self.parsed[record.uuid] = (item, record)
        return record

    def _set_aside(self, name: str, reason: str) -> None:
        self._records.pop(name, None)
        self.rejected[name] = reason

    def names(self, uuid: str) -> bool:
        return uuid in self._records or uuid in self.rejected

    def records(self) -> Records:
        return Records(records=tuple(self._records.values()), rejected=self.rejected)


def _name(item: object) -> str:
    uuid = item.get("uuid") if isinstance(item, dict) else None
    return uuid if isinstance(uuid, str) and is_container_uuid(uuid) else ""


def _reason_refused(failure: QueueFailure) -> bool:
    return failure.status == 422 and "runtime status" in failure.text.lower()


def _may_pass(error: BaseException) -> bool:
    """A refusal (4xx) stays one until somebody changes something; anything else may pass by itself."""
    return isinstance(error, QueueError) and not 400 <= (error.failure.status or 0) < 500
