"""What each operation does, one function a row: from a request that the judge has passed to an answer or an ArmError."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from tests.fake_azure import deleting, errors, views
from tests.fake_azure.account import Account, Answer
from tests.fake_azure.creating import create_machine, repeat_create
from tests.fake_azure.errors import ArmError
from tests.fake_azure.judge import Request
from tests.fake_azure.model import AnyResource, Machine, Operation, existing, living
from tests.fake_azure.site import other_records, sku_record

Handler = Callable[[Account, Mapping[str, str], Request, float], Answer]


def _machine(account: Account, parts: Mapping[str, str], now: float) -> Machine:
    key = f"{account.site.base(parts['group'])}/Microsoft.Compute/virtualMachines/{parts['name']}"
    machine = living(account.inventory.machines, key, now)
    if machine is None:
        raise ArmError(errors.not_found("Microsoft.Compute/virtualMachines", parts["name"], parts["group"]))
    return machine


def _accepted(account: Account, request: Request, operation: Operation | None) -> dict[str, str]:
    """The headers of work that was accepted: where to ask, and how often."""
    if operation is None:
        return {}
    version = request.query["api-version"]
    place = f"/subscriptions/{account.site.subscription}/providers/Microsoft.Compute/locations/{account.site.location}/operations"
    url = f"{account.base_url}{place}/{operation.id}?" + urlencode({"p": operation.id, "api-version": version})
    pace = {"Retry-After": str(account.knobs.retry_after_s)} if account.knobs.retry_after_s else {}
    return {"Azure-AsyncOperation": url, "Location": f"{url}&monitor=true", **pace}


# ------------------------------------------------------------------------------------------------------------- machines


def put_machine(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    key = f"{account.site.base(parts['group'])}/Microsoft.Compute/virtualMachines/{parts['name']}"
    machine, status = living(account.inventory.machines, key, now), 200
    if machine is not None:
        repeat_create(account, machine, request.body, request.headers, now)
    else:
        machine, status = create_machine(account, parts["group"], parts["name"], request.body, now), 201
    headers = _accepted(account, request, account.inventory.operations.get(machine.create_operation))
    headers.pop("Location", None)
    return Answer(status=status, headers=headers, body=views.machine_view(account, machine, now))


def patch_machine(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    machine = _machine(account, parts, now)
    _check_changeable(account, machine, request, now)
    if "tags" in request.body:
        machine.retag(now, request.body["tags"])
    machine.revision += 1
    return Answer(body=views.machine_view(account, machine, now))


def _check_changeable(account: Account, machine: Machine, request: Request, now: float) -> None:
    if now >= machine.deleting_s:
        raise ArmError(errors.marked_for_deletion(machine.name))
    if request.headers.get("if-match", machine.etag) not in (machine.etag, "*"):
        raise ArmError(errors.not_the_version(machine.name))
    if account.happens("update: conflict", account.knobs.conflict_rate):
        raise ArmError(errors.another_operation(machine.name))


def merge_tags(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    machine = _machine(account, parts, now)
    _check_changeable(account, machine, request, now)
    asked, had = request.body["properties"]["tags"], machine.tags_at(now)
    kinds = {"Replace": asked, "Merge": {**had, **asked}, "Delete": {key: had[key] for key in had if key not in asked}}
    machine.retag(now, kinds[request.body["operation"]])
    return Answer(body={"properties": {"tags": machine.tags_at(now)}})


def get_machine(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    live = request.query.get("$expand") == "instanceView"
    return Answer(body=views.machine_view(account, _machine(account, parts, now), now, live=live))


def view_machine(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    return Answer(body=views.instance_view(_machine(account, parts, now), now))


def delete_machine(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    key = f"{account.site.base(parts['group'])}/Microsoft.Compute/virtualMachines/{parts['name']}"
    machine = living(account.inventory.machines, key, now)
    if machine is None:
        return Answer(status=204)
    if now < machine.deleting_s:
        account.hardware.stop(machine, now)
    deleting.delete_machine(account, machine, now)
    return Answer(status=202, headers=_accepted(account, request, account.inventory.operations.get(machine.delete_operation)))


def act_on_machine(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    """Power: only what a driver needs to see of it."""
    machine, act = _machine(account, parts, now), request.path.rsplit("/", 1)[-1].lower()
    if act == "simulateeviction":
        deleting.evict_machine(account, machine, now)
        return Answer(status=204)
    machine.deallocated_s = now if act == "deallocate" else float("inf") if act == "start" else machine.deallocated_s
    return Answer(status=202, headers=_accepted(account, request, account.new_operation(machine.id, now, now + 1)))


# ---------------------------------------------------------------------------------------------------------------- lists


def _pages(
    account: Account, request: Request, shelf: Mapping[str, AnyResource], view: Any, group: str | None, at_s: float
) -> Answer:
    """One page of a list, with everything that can be wrong about it."""
    token = _read_token(request)
    if token and account.happens("list: expired page", account.knobs.expired_page_rate):
        raise ArmError(errors.expired_page())
    rows = list(existing(shelf, at_s, group))
    begin = next((number for number, row in enumerate(rows) if row.key > token.get("after", "")), len(rows))
    end = begin + account.knobs.page_size
    body: dict[str, Any] = {}
    if end < len(rows):
        body["nextLink"] = _next_link(account, request, rows[end - 1].key, token)
    if token and account.happens("list: repeated page", account.knobs.repeated_page_rate):
        begin = max(0, begin - 3)
    return Answer(body={"value": [view(account, row, at_s) for row in rows[begin:end]], **body})


def _next_link(account: Account, request: Request, after: str, token: Mapping[str, Any]) -> str:
    """Once in a while, and once in a list, the link leads to this very page again."""
    turned = bool(token.get("turned"))
    if token and not turned and account.happens("list: circular page", account.knobs.circular_page_rate):
        after, turned = token["after"], True
    packed = base64.urlsafe_b64encode(json.dumps({"after": after, "turned": turned}).encode()).decode()
    query = {name: value for name, value in request.query.items() if name != "$skiptoken"}
    return f"{account.base_url}{request.path}?{urlencode({**query, '$skiptoken': packed})}"


def _read_token(request: Request) -> dict[str, Any]:
    packed = request.query.get("$skiptoken")
    if packed is None:
        return {}
    try:
        token: dict[str, Any] = json.loads(base64.urlsafe_b64decode(packed))
    except ValueError:
        raise ArmError(errors.expired_page()) from None
    return token


def _listing(shelf: str, view: Any, lag: str) -> Handler:
    """A list of one kind, that may be late."""

    def handler(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
        at_s = now - account.random.uniform(0, getattr(account.knobs, lag))
        return _pages(account, request, getattr(account.inventory, shelf), view, parts.get("group"), at_s)

    return handler


def list_usages(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    return Answer(body={"value": views.usage_rows(account, now)})


def list_skus(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    """In pages, between rows of other kinds."""
    location = account.site.location
    wanted = request.query.get("$filter", f"location eq '{location}'").endswith(f"'{location}'")
    rows = [*other_records(location), *(sku_record(size, location) for size in account.site.sizes)] if wanted else []
    token = _read_token(request)
    if token and account.happens("skus: expired page", account.knobs.expired_page_rate):
        raise ArmError(errors.expired_page())
    begin = int(token.get("after", 0))
    end = begin + account.knobs.sku_page_size
    more = {"nextLink": _next_link(account, request, str(end), {})} if end < len(rows) else {}
    return Answer(body={"value": rows[begin:end], **more})


# --------------------------------------------------------------------------------------------------------- one by one


def _one(account: Account, parts: Mapping[str, str], shelf: str, kind: str, now: float) -> Any:
    key = f"{account.site.base(parts['group'])}/{kind}/{parts['name']}"
    found = living(getattr(account.inventory, shelf), key, now)
    if found is None:
        raise ArmError(errors.not_found(kind, parts["name"], parts["group"]))
    return found


def _getting(shelf: str, kind: str, view: Any) -> Handler:
    return lambda account, parts, request, now: Answer(body=view(account, _one(account, parts, shelf, kind, now), now))


def _deleting(shelf: str, kind: str, delete: Any) -> Handler:
    """What is not there is 204, what is on its way is 202."""

    def handler(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
        try:
            found = _one(account, parts, shelf, kind, now)
        except ArmError:
            return Answer(status=204)
        delete(account, found, now)
        return Answer(status=202, headers=_accepted(account, request, account.new_operation(found.id, now, found.gone_s)))

    return handler


def get_operation(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    operation = account.inventory.operations.get(parts["name"])
    if operation is None:
        raise ArmError(errors.not_found("operations", parts["name"], account.site.location))
    running = operation.status(now) == "InProgress"
    headers = {"Retry-After": str(account.knobs.retry_after_s)} if running and account.knobs.retry_after_s else {}
    if "monitor" in request.query:
        return Answer(status=202 if running else 200, headers=headers)
    return Answer(headers=headers, body=views.operation_view(account, operation, now))


def get_image(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    if parts["name"] not in account.site.images:
        raise ArmError(errors.no_image(parts["name"]))
    place = {"id": f"/subscriptions/{request.path.removeprefix('/subscriptions/')}", "name": parts["name"]}
    return Answer(body={**place, "location": account.site.location, "properties": {"provisioningState": "Succeeded"}})


def get_gallery_version(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    place = {"id": request.path, "name": parts["name"], "location": account.site.location}
    return Answer(body={**place, "properties": {"provisioningState": "Succeeded"}})


def get_group(account: Account, parts: Mapping[str, str], request: Request, now: float) -> Answer:
    if parts["name"].lower() != account.site.group.lower():
        raise ArmError(errors.no_group(parts["name"]))
    return Answer(body={"id": request.path, "name": parts["name"], "location": account.site.location})


_CARDS = ("cards", "Microsoft.Network/networkInterfaces")
_DISKS = ("disks", "Microsoft.Compute/disks")
_ADDRESSES = ("addresses", "Microsoft.Network/publicIPAddresses")
_LIST_MACHINES = _listing("machines", views.listed_machine, "list_lag_s")

HANDLERS: dict[str, Handler] = {
    "create vm": put_machine,
    "update vm": patch_machine,
    "merge tags": merge_tags,
    "get vm": get_machine,
    "view vm": view_machine,
    "delete vm": delete_machine,
    "list vms": _LIST_MACHINES,
    "list all vms": _LIST_MACHINES,
    "list vms of a location": _LIST_MACHINES,
    **{f"{act} vm": act_on_machine for act in ("start", "restart", "powerOff", "deallocate", "redeploy", "simulateEviction")},
    "list usages": list_usages,
    "list skus": list_skus,
    "get operation": get_operation,
    "get image": get_image,
    "get gallery version": get_gallery_version,
    "get group": get_group,
    "get network card": _getting(*_CARDS, views.card_view),
    "delete network card": _deleting(*_CARDS, deleting.delete_card),
    "get disk": _getting(*_DISKS, views.disk_view),
    "delete disk": _deleting(*_DISKS, deleting.delete_disk),
    "get address": _getting(*_ADDRESSES, views.address_view),
    "delete address": _deleting(*_ADDRESSES, deleting.delete_public_address),
    **{f"list {all_}network cards": _listing("cards", views.card_view, "card_lag_s") for all_ in ("", "all ")},
    **{f"list {all_}disks": _listing("disks", views.disk_view, "card_lag_s") for all_ in ("", "all ")},
    **{f"list {all_}addresses": _listing("addresses", views.address_view, "card_lag_s") for all_ in ("", "all ")},
}
