"""The way to Azure: the SDK's client on a pipeline that sends each request once, waits for nothing and tells what it heard.

Every answer's pace is reported through the Call, every failure becomes an error of the contract, and no token leaves for another
host than the one that the site named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.policies import (
    ContentDecodePolicy,
    HeadersPolicy,
    RequestIdPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import HttpTransport, RequestsTransport
from azure.core.rest import HttpRequest
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from requests.adapters import HTTPAdapter

from dispatcher.driver import Call, CloudError, Denied, InstanceType, Scope
from drivers.azure.answers import JSON
from drivers.azure.credentials import OneAtATime
from drivers.azure.errors import MAX_TEXT, Refusal, error_of, is_narrow, limit_and_usage, refusal_of
from drivers.azure.headers import Pace, pace_of
from drivers.azure.parameters import Parameters
from drivers.azure.retail import Pages, rows_from
from drivers.azure.unsure import AlreadyThere, is_outage, surely_not_sent

NETWORK_API, DISK_API, SIZES_API = "2024-05-01", "2024-03-02", "2021-07-01"
CONNECT_S, READ_S = 10.0, 60.0
CONNECTIONS = 48  # as many as the dispatcher has threads that call a cloud
MAX_PAGES = 1000
ACCEPTED, UNAUTHORIZED = (201, 202), 401
WHOLE_PLACE_GONE = ("ResourceGroupNotFound", "SubscriptionNotFound")


@dataclass(slots=True)
class Exchange:
    """One request on its way: whether it left this host, and what came back. ``has_effect``: it was to change something;
    ``follows``: it asks how an accepted one stands."""

    call: Call
    has_effect: bool = False
    follows: bool = False
    sent: bool = False
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class ExchangePolicy(SansIOHTTPPolicy):  # type: ignore[misc]  # the SDK is not read by mypy
    """Notes what leaves and what comes back; keeps tokens from other hosts, and tells when one was refused."""

    def __init__(self, endpoint: str, on_refused: Callable[[], None]) -> None:
        super().__init__()
        self._on_refused = on_refused
        self._home = _host(endpoint)

    def on_request(self, request: Any) -> None:
        if _host(request.http_request.url) != self._home:
            raise CloudError(f"an answer points to another host than {self._home[1]}: nothing was sent there")
        exchange = request.context.options.pop("exchange", None)
        if exchange is not None:
            request.context["exchange"] = exchange
            exchange.sent = True

    def on_response(self, request: Any, response: Any) -> None:
        exchange = request.context.get("exchange")
        if response.http_response.status_code == UNAUTHORIZED:
            self._on_refused()
        if exchange is not None:
            exchange.status = response.http_response.status_code
            exchange.headers = dict(response.http_response.headers)
            report(exchange, pace_of(exchange.headers))


def _host(url: str) -> tuple[str, str]:
    split = urlsplit(url)
    return split.scheme.lower(), split.netloc.lower()


def report(exchange: Exchange, pace: Pace) -> None:
    """What this answer said of its kind of call; of several answers in a call the strictest. The pause that an accepted
    request, or the question how one stands, is answered with is about that one alone; that of a refusal has to be understood
    first."""
    call = exchange.call
    if pace.remaining is not None:
        call.calls_remaining = min(pace.remaining, pace.remaining if call.calls_remaining is None else call.calls_remaining)
    if pace.retry_after_s is None or exchange.status >= 400:
        return
    if exchange.follows or exchange.status in ACCEPTED:
        call.poll_after_s = pace.retry_after_s
    else:
        pause(call, pace.retry_after_s)


def pause(call: Call, pause_s: float) -> None:
    call.retry_after_s = max(call.retry_after_s or 0.0, pause_s)


@dataclass(slots=True)
class Found:
    """The members of a list, each once. ``error``: why a later page is missing."""

    items: list[JSON] = field(default_factory=list)
    error: CloudError | None = None
    _ids: set[str] = field(default_factory=set)

    def add(self, page: Sequence[JSON]) -> None:
        """Members that come and go move the others across the border of two pages: what is on both counts once."""
        for one in page:
            identity = str(one.get("id") or [one.get(name) for name in ("resourceType", "name", "locations")]).lower()
            if identity not in self._ids:
                self._ids.add(identity)
                self.items.append(one)


class Arm:
    """The requests that the driver makes. ``stopwatch`` counts seconds: it only bounds a call that needs several requests."""

    def __init__(
        self,
        parameters: Parameters,
        credential: Callable[[], TokenCredential],
        *,
        stopwatch: Callable[[], float],
        transport: HttpTransport | None = None,
    ) -> None:
        self._parameters = parameters
        self._stopwatch = stopwatch
        self._session = requests.Session()
        self._session.mount("https://", HTTPAdapter(pool_connections=4, pool_maxsize=CONNECTIONS))
        place = parameters.place
        self._login = login = OneAtATime(credential)
        self._client = ComputeManagementClient(
            login,
            parameters.subscription,
            base_url=place.arm,
            credential_scopes=[place.scope],
            transport=transport or self._transport(),
            policies=[
                RequestIdPolicy(),
                HeadersPolicy(),
                UserAgentPolicy(base_user_agent="cloud-dispatcher"),
                ContentDecodePolicy(),
                ARMChallengeAuthenticationPolicy(login, place.scope),
                ExchangePolicy(place.arm, login.forget),
            ],
        )

    def _transport(self) -> RequestsTransport:
        verify = self._parameters.ca_bundle or True
        return RequestsTransport(session=self._session, session_owner=False, connection_verify=verify)

    def close(self) -> None:
        self._client.close()
        self._session.close()
        self._login.close()

    def began(self, call: Call) -> Leash:
        """Starts the time of a call."""
        return Leash(call, self._stopwatch)

    # ---------------------------------------------------------------------------------------------------------- machines

    def put_vm(self, name: str, body: Mapping[str, Any], leash: Leash) -> Exchange:
        """Ask for a machine. Raises AlreadyThere when one has its name."""
        exchange = leash.exchange(has_effect=True)
        with translated(exchange), noticed_when_there(exchange):
            self._client.virtual_machines.begin_create_or_update(
                self._parameters.group,
                name,
                body,
                etag="*",
                match_condition=MatchConditions.IfMissing,
                polling=False,
                api_version=self._parameters.api_version,
                **leash.options(exchange),
            )
        return exchange

    def get_vm(self, name: str, leash: Leash) -> JSON | None:
        """None when there is none."""
        return self._get(self._vm_path(name), self._parameters.api_version, leash)

    def instance_view(self, name: str, leash: Leash) -> JSON | None:
        return self._get(f"{self._vm_path(name)}/instanceView", self._parameters.api_version, leash)

    def patch_vm(self, name: str, body: Mapping[str, Any], etag: str, leash: Leash) -> None:
        exchange = leash.exchange(has_effect=True)
        unchanged: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
        with translated(exchange):
            self._client.virtual_machines.begin_update(
                self._parameters.group,
                name,
                body,
                polling=False,
                api_version=self._parameters.api_version,
                **unchanged,
                **leash.options(exchange),
            )

    def delete_vm(self, name: str, leash: Leash) -> None:
        """Gone already is success."""
        exchange = leash.exchange(has_effect=True)
        with translated(exchange), forgiven_when_gone():
            self._client.virtual_machines.begin_delete(
                self._parameters.group,
                name,
                force_deletion=self._parameters.force_delete,
                polling=False,
                api_version=self._parameters.api_version,
                **leash.options(exchange),
            )

    def list_vms(self, leash: Leash) -> Found:
        return self._list(f"{self._group_path}/Microsoft.Compute/virtualMachines", self._parameters.api_version, leash)

    # --------------------------------------------------------------------------------------------- what belongs to machines

    def list_cards(self, leash: Leash) -> Found:
        return self._list(f"{self._group_path}/Microsoft.Network/networkInterfaces", NETWORK_API, leash)

    def list_addresses(self, leash: Leash) -> Found:
        return self._list(f"{self._group_path}/Microsoft.Network/publicIPAddresses", NETWORK_API, leash)

    def list_disks(self, leash: Leash) -> Found:
        return self._list(f"{self._group_path}/Microsoft.Compute/disks", DISK_API, leash)

    def get_part(self, resource_id: str, leash: Leash) -> JSON | None:
        return self._get(resource_id, _api_of(resource_id), leash)

    def delete_part(self, resource_id: str, leash: Leash) -> None:
        exchange = leash.exchange(has_effect=True)
        with translated(exchange), forgiven_when_gone():
            self._send("DELETE", self._url(resource_id, _api_of(resource_id)), exchange, leash)

    def get_operation(self, url: str, leash: Leash) -> JSON | None:
        """How something that was accepted stands; None when Azure has forgotten it."""
        exchange = leash.exchange(follows=True)
        with translated(exchange), forgiven_when_gone():
            return self._send("GET", url, exchange, leash)
        return None

    def usages(self, leash: Leash) -> Found:
        provider = f"/subscriptions/{self._parameters.subscription}/providers/Microsoft.Compute"
        return self._list(f"{provider}/locations/{self._parameters.location}/usages", self._parameters.api_version, leash)

    def sizes(self, leash: Leash) -> Found:
        """The table of sizes of the region; several megabytes."""
        path = f"/subscriptions/{self._parameters.subscription}/providers/Microsoft.Compute/skus"
        wanted = quote(f"location eq '{self._parameters.location}'", safe="'")
        return self._list(path, SIZES_API, leash, f"&$filter={wanted}")

    def retail_prices(self, types: Sequence[InstanceType], leash: Leash) -> list[JSON]:
        """From the file or the address that the site named; no token goes there."""
        chosen = self._parameters
        pages = Pages(self._session, chosen.ca_bundle or True, leash.left_s)
        return rows_from(chosen.retail_prices, types, chosen.location, chosen.retail_currency, pages)

    # ------------------------------------------------------------------------------------------------------------ requests

    @property
    def _group_path(self) -> str:
        return f"/subscriptions/{self._parameters.subscription}/resourceGroups/{self._parameters.group}/providers"

    def _vm_path(self, name: str) -> str:
        return f"{self._group_path}/Microsoft.Compute/virtualMachines/{name}"

    def _url(self, path: str, api_version: str) -> str:
        return f"{self._parameters.place.arm}{path}?api-version={api_version}"

    def _get(self, path: str, api_version: str, leash: Leash) -> JSON | None:
        exchange = leash.exchange()
        with translated(exchange), forgiven_when_gone():
            return self._send("GET", self._url(path, api_version), exchange, leash)
        return None

    def _list(self, path: str, api_version: str, leash: Leash, query: str = "") -> Found:
        """All pages; when a later one fails what came before it is kept. Raises CloudError when the first one does."""
        url = self._url(path, api_version) + query
        found = Found()
        seen: set[str] = set()
        while url:
            if url in seen or len(seen) >= MAX_PAGES:
                found.error = CloudError(f"a list that has no end: page {len(seen)} leads back, or is one too many")
                break
            seen.add(url)
            try:
                page = self._page(url, leash)
            except CloudError as error:
                if len(seen) == 1:
                    raise
                found.error = error
                break
            found.add(page["value"])
            url = page.get("nextLink") or ""
        return found

    def _page(self, url: str, leash: Leash) -> Mapping[str, Any]:
        exchange = leash.exchange()
        with translated(exchange):
            page = self._send("GET", url, exchange, leash)
        value = page.get("value")
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            raise CloudError("a page of a list does not have the form of one")
        return page

    def _send(self, method: str, url: str, exchange: Exchange, leash: Leash) -> Mapping[str, Any]:
        answer = self._client.send_request(HttpRequest(method, url), **leash.options(exchange))
        if answer.status_code >= 400:
            raise HttpResponseError(response=answer)
        read = answer.json() if answer.content else {}
        if not isinstance(read, Mapping):
            raise ValueError("the answer is JSON, and no mapping")
        return read


def _api_of(resource_id: str) -> str:
    return DISK_API if "/microsoft.compute/" in resource_id.lower() else NETWORK_API


class Leash:
    """The time that a call has for all its requests."""

    def __init__(self, call: Call, stopwatch: Callable[[], float]) -> None:
        self.call = call
        self._stopwatch = stopwatch
        self._until_s = stopwatch() + call.timeout_s

    def exchange(self, *, has_effect: bool = False, follows: bool = False) -> Exchange:
        return Exchange(self.call, has_effect, follows)

    def left_s(self) -> float:
        """Raises CloudError when none is."""
        left_s = self._until_s - self._stopwatch()
        if left_s <= 0:
            raise CloudError(f"not done within {self.call.timeout_s:g} s")
        return left_s

    def options(self, exchange: Exchange) -> dict[str, Any]:
        """Raises CloudError when no time is left."""
        left_s = self.left_s()
        return {"exchange": exchange, "connection_timeout": min(CONNECT_S, left_s), "read_timeout": min(READ_S, left_s)}


# ----------------------------------------------------------------------------------------------------------------- errors


@contextlib.contextmanager
def forgiven_when_gone() -> Iterator[None]:
    """What does not exist (any more) is no error. A group or subscription that does not exist is one, and so is a 404 that
    Azure did not explain: some machine on the way may have said it."""
    try:
        yield
    except HttpResponseError as error:
        code = next(iter(_refusal(error).codes), "")
        if error.status_code != 404 or not code.endswith("NotFound") or code in WHOLE_PLACE_GONE:
            raise


@contextlib.contextmanager
def noticed_when_there(exchange: Exchange) -> Iterator[None]:
    """412 is what ``If-None-Match: *`` is answered with; the property that may not change is the answer of who ignores it."""
    try:
        yield
    except HttpResponseError as error:
        there = exchange.status == 412 or (exchange.status == 409 and "PropertyChangeNotAllowed" in _refusal(error).codes)
        if not there:
            raise
        raise AlreadyThere from error


@contextlib.contextmanager
def translated(exchange: Exchange) -> Iterator[None]:
    """Whatever the SDK raises, as an error of the contract."""
    try:
        yield
    except (AzureError, requests.RequestException, ValueError, OSError) as error:
        raise error_from(error, exchange) from error


def error_from(raised: Exception, exchange: Exchange) -> CloudError:
    # 1. No token: the request itself never left.
    if isinstance(raised, ClientAuthenticationError) and not exchange.status:
        return CloudError(_short(raised)) if is_outage(raised) else Denied(_short(raised), scope=Scope.EVERYTHING)
    # 2. A refusal with an answer.
    if isinstance(raised, HttpResponseError) and exchange.status >= 400:
        refusal = _refusal(raised, exchange)
        exchange.call.limit, exchange.call.usage = limit_and_usage(refusal.message)
        error = error_of(refusal, has_effect=exchange.has_effect)
        if refusal.pace.retry_after_s is not None and not is_narrow(error, refusal):
            pause(exchange.call, refusal.pace.retry_after_s)
        return error
    # 3. No answer, or none that can be understood.
    unsure = exchange.has_effect and exchange.sent and not surely_not_sent(raised)
    return CloudError(_short(raised), outcome_unknown=unsure)


def _refusal(error: HttpResponseError, exchange: Exchange | None = None) -> Refusal:
    pace = pace_of(exchange.headers) if exchange is not None else Pace()
    return refusal_of(error.status_code, _body(error), pace)


def _body(error: HttpResponseError) -> str:
    try:
        return str(error.response.text()) if error.response is not None else str(error)
    except (AzureError, ValueError, OSError):
        return ""


def _short(error: Exception) -> str:
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return line if len(line) <= MAX_TEXT else f"{line[:MAX_TEXT]}…"
