"""The contract on Azure: each call is one request, or one list, and what the other modules make of the answer.

The driver starts no thread, waits for nothing that Azure works on, and remembers nothing but which zones refused lately or lack a
size.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from dispatcher.driver import (
    Call,
    Capabilities,
    CloudError,
    Created,
    CreateRequest,
    DriverSettings,
    Instance,
    InstanceType,
    Leftover,
    Listing,
    NoCapacity,
    Notice,
    Price,
    RateLimits,
    TypeFacts,
)
from drivers.azure import answers, leftovers, notices, prices, quotas, sizes
from drivers.azure.answers import JSON, part, text
from drivers.azure.boot import KeyPair, custom_data
from drivers.azure.errors import refusal_from
from drivers.azure.headers import Pace
from drivers.azure.names import CREATED_AT, Marks, check_name, check_tags
from drivers.azure.parameters import Parameters
from drivers.azure.request import ADMIN_WITHOUT_KEY, KEYS_THAT_AZURE_TAKES, Birth, login_user, vm_body
from drivers.azure.unsure import AlreadyThere
from drivers.azure.zones import Zones, handle, unpack

if TYPE_CHECKING:
    from drivers.azure.arm import Arm, Exchange, Found, Leash

LIST_LAG_S = 10.0
MAX_VIEWS = 10  # failed machines that are looked at more closely, per list
# Azure's front door: 200 calls at once, then 10 a second; lists of machines: 300 a minute.
LIMITS = RateLimits(create=10.0, list=5.0, destroy=10.0, set_tags=5.0, burst=200)


class AzureDriver:
    """One resource group's instances. ``arm`` sends; ``host_key`` and ``nobodys_key`` draw keys."""

    def __init__(
        self,
        settings: DriverSettings,
        parameters: Parameters,
        arm: Arm,
        *,
        host_key: Callable[[], KeyPair],
        nobodys_key: Callable[[], str],
    ) -> None:
        self._parameters = parameters
        self._marks = Marks(prefix=settings.tag_prefix, set_id=settings.instance_set_id)
        self._arm = arm
        self._host_key = host_key
        self._draw_nobodys_key = nobodys_key
        self._nobodys_key = ""
        self._lock = threading.Lock()
        self._zones = Zones(parameters.zones)
        self.capabilities = Capabilities(
            create_is_idempotent=True,
            list_lag_s=LIST_LAG_S,
            poll_create=True,
            delete_leftover=True,
            notices=parameters.eviction_notices,
            quota_groups=True,
            usages=parameters.usages,
            type_facts=parameters.size_table,
            prices=bool(parameters.retail_prices),
            leftover_age_s=parameters.leftover_age_s,
            limits=LIMITS,
        )

    notice_command = notices.COMMAND

    def parse_notice(self, said: str, name: str) -> Notice | str:
        return notices.parse(said, name)

    def close(self) -> None:
        """Ends its connections. The dispatcher ends with its process instead."""
        self._arm.close()

    # ------------------------------------------------------------------------------------------------------------- create

    def create(self, request: CreateRequest, call: Call) -> Created:
        """Asks each zone in turn until one takes it. Under a name that exists the answer is the instance that has it."""
        check_name(request.name)
        leash = self._arm.began(call)
        host_key = self._host_key() if self._injects_host_key else None
        size = request.instance_type.provider_type
        *others, last = self._zones.in_order(size, request.name)
        for zone in others:
            try:
                return self._create_in(zone, request, host_key, leash)
            except NoCapacity:
                self._zones.refused(size, zone)
        try:
            return self._create_in(last, request, host_key, leash)
        except NoCapacity:
            self._zones.refused(size, last)
            raise

    def _create_in(self, zone: str | None, request: CreateRequest, host_key: KeyPair | None, leash: Leash) -> Created:
        body = vm_body(request, self._parameters, self._birth(zone, request, host_key))
        try:
            exchange = self._arm.put_vm(request.name, body, leash)
        except AlreadyThere:
            return self._existing(request.name, leash)
        size = request.instance_type.provider_type
        self._zones.granted(size, zone)
        return Created(self._id(request.name), _operation(exchange, size, zone))

    def _existing(self, name: str, leash: Leash) -> Created:
        vm = self._arm.get_vm(name, leash)
        if vm is None:
            raise CloudError(f"{name} was there a moment ago, and is gone", outcome_unknown=True)
        answers.check_created_before(vm, self._marks, name)
        return Created(self._id(name))

    @property
    def _injects_host_key(self) -> bool:
        """An image that was not generalized reads nothing that only root can read."""
        return self._parameters.host_key == "inject" and not self._parameters.specialized_image

    def _birth(self, zone: str | None, request: CreateRequest, host_key: KeyPair | None) -> Birth:
        user = login_user(self._parameters)
        key = request.public_key or ""
        takes_key = user != "root" and key.split(" ")[0] in KEYS_THAT_AZURE_TAKES
        tags = {**request.tags, self._marks.user_key: user}
        if request.created_at:
            tags[CREATED_AT] = request.created_at
        network_tags = {name: value for name, value in tags.items() if not name.endswith("InstanceSecret")}
        if host_key is not None:
            tags[self._marks.host_key_key] = host_key.public
        check_tags(tags)
        authorize = (user, key) if key and not takes_key else None
        return Birth(
            tags=tags,
            network_tags=network_tags,
            custom_data=custom_data(request.init_script, authorize=authorize, host_key=host_key),
            admin_user=user if user != "root" else ADMIN_WITHOUT_KEY,
            admin_key=key.strip() if takes_key else self._key_of_nobody(),
            zone=zone,
        )

    def _key_of_nobody(self) -> str:
        """Drawn once: it opens nothing, and drawing it takes a tenth of a second."""
        with self._lock:
            self._nobodys_key = self._nobodys_key or self._draw_nobodys_key()
            return self._nobodys_key

    def poll_create(self, operation: str, call: Call) -> bool | CloudError:
        """True also for what Azure has forgotten: then the list tells. What came up badly may still come up."""
        url, size, zone = unpack(operation)
        found = self._arm.get_operation(url, self._arm.began(call))
        status = text((found or {}).get("status")).lower()
        if found is None or status == "succeeded":
            return True
        if status not in ("failed", "canceled"):
            return False
        refusal = refusal_from(None, found.get("error") or {"code": status.capitalize()}, Pace())
        failure = answers.lasting_failure(refusal)
        if isinstance(failure, NoCapacity):
            self._zones.refused(size, zone)
        return True if failure is None else failure

    # --------------------------------------------------------------------------------------------------------------- list

    def list(self, call: Call) -> Listing:
        """Machines first, then cards: a card that nobody has then was really left, and the addresses are the newest."""
        leash = self._arm.began(call)
        vms = self._arm.list_vms(leash)
        cards = self._arm.list_cards(leash)
        ours = [vm for vm in vms.items if self._marks.owns(part(vm, "tags"))]
        addresses = answers.addresses(cards.items)
        if cards.error is not None:  # an instance without its address would look as if it had lost it
            ours = [vm for vm in ours if answers.address_of(vm, addresses) is not None]
        failures = self._failures(ours, leash)
        shown = tuple(self._shown(vm, addresses, failures) for vm in ours)
        complete = vms.error is None and cards.error is None
        left = self._leftovers(cards, leash) if complete and call.leftovers else ()
        used = quotas.usages(_whole(self._arm.usages, leash)) if call.usages and self._parameters.usages else ()
        return Listing(shown, left, complete, used)

    def _shown(self, vm: JSON, addresses: Mapping[str, str], failures: Mapping[str, CloudError]) -> Instance:
        name = text(vm.get("name"))
        known = {**vm, "id": self._id(name)}
        return answers.instance_of(known, addresses, self._marks, user=self._parameters.admin_user, failure=failures.get(name))

    def _failures(self, vms: Sequence[JSON], leash: Leash) -> dict[str, CloudError]:
        """Why some of them failed, when they failed for good. A list does not tell; a look at each of them does."""
        found: dict[str, CloudError] = {}
        for name in [text(vm.get("name")) for vm in vms if answers.is_failed(vm)][:MAX_VIEWS]:
            try:
                view = self._arm.instance_view(name, leash)
            except CloudError:
                break  # the list is worth more than the reasons
            failure = answers.failure_in_view(view or {})
            if failure is not None:
                found[name] = failure
        return found

    def _leftovers(self, cards: Found, leash: Leash) -> tuple[Leftover, ...]:
        """Of each kind, if its list is whole. What cannot be listed now is found another time."""
        found = leftovers.card_leftovers(cards.items, self._marks)
        found += leftovers.disk_leftovers(_whole(self._arm.list_disks, leash), self._marks)
        if self._parameters.public_ip:
            found += leftovers.address_leftovers(_whole(self._arm.list_addresses, leash), self._marks)
        return found

    # ------------------------------------------------------------------------------------------------------ destroy and tags

    def destroy(self, instance_id: str, call: Call) -> None:
        """Looks first: what is being deleted already is not asked for again, and what is not ours is left alone."""
        name, leash = self._name(instance_id), self._arm.began(call)
        vm = self._arm.get_vm(name, leash)
        if vm is None:
            return
        self._check_ours(vm, name)
        if not answers.is_deleting(vm):
            self._arm.delete_vm(name, leash)

    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        """Replaces all but the driver's own; refused when somebody else changed the machine meanwhile."""
        name, leash = self._name(instance_id), self._arm.began(call)
        vm = self._arm.get_vm(name, leash)
        if vm is None:
            raise CloudError(f"no instance {instance_id}")
        self._check_ours(vm, name)
        wanted = {**tags, **self._marks.own_part(part(vm, "tags"))}
        check_tags(wanted)
        self._arm.patch_vm(name, {"tags": wanted}, text(vm.get("etag")), leash)

    def delete_leftover(self, leftover: Leftover, call: Call) -> None:
        """Looks first: what is in use again, or is not ours, stays. Gone already is success."""
        self._check_place(leftover)
        leash = self._arm.began(call)
        found = self._arm.get_part(leftover.id, leash)
        if found is None:
            return
        if not leftovers.still_free(found, leftover.kind, self._marks):
            raise CloudError(f"{leftover.kind} {leftover.id} is in use or not ours: it stays")
        self._arm.delete_part(leftover.id, leash)

    def _check_ours(self, vm: JSON, name: str) -> None:
        if not self._marks.owns(part(vm, "tags")):
            raise CloudError(f"{name} is not ours: its tag {self._marks.set_key} names another set, or is missing")

    def _check_place(self, leftover: Leftover) -> None:
        provider = leftovers.PROVIDERS.get(leftover.kind, "?")
        where = f"{self._group_path}/providers/{provider}/"
        if not re.fullmatch(re.escape(where) + r"[^/?#]+", leftover.id, re.IGNORECASE):
            raise CloudError(f"{leftover.id!r} is no {leftover.kind} of the resource group {self._parameters.group}")

    # ---------------------------------------------------------------------------------------------------------------- ids

    @property
    def _group_path(self) -> str:
        return f"/subscriptions/{self._parameters.subscription}/resourceGroups/{self._parameters.group}"

    def _id(self, name: str) -> str:
        """Written one way: Azure itself changes the case of groups from answer to answer."""
        return f"{self._group_path}/providers/Microsoft.Compute/virtualMachines/{name}"

    def _name(self, instance_id: str) -> str:
        """Of a whole id, also as the Go dispatcher knows it. Raises CloudError for what is not in our group."""
        prefix, _, name = instance_id.rpartition("/")
        if prefix.lower() != self._id("").lower().rstrip("/"):
            raise CloudError(f"no instance {instance_id!r}: it is not in the resource group {self._parameters.group}")
        check_name(name)
        return name

    # ---------------------------------------------------------------------------------------------------------- catalogue

    def type_facts(self, types: Sequence[InstanceType], call: Call) -> tuple[TypeFacts, ...]:
        """From the whole table or not at all: what it lacks counts as not offered."""
        if not types:
            return ()
        listed = self._arm.sizes(self._arm.began(call))
        if listed.error is not None:
            raise listed.error
        table = sizes.sizes_of(listed.items, self._parameters.location)
        if not table:
            raise CloudError(f"Azure's table of sizes names none for {self._parameters.location}: is Location right?")
        self._zones.know({name: sizes.lacking_zones(size, self._parameters) for name, size in table.items()})
        return sizes.facts(types, table, self._parameters, self._named_group)

    def prices(self, types: Sequence[InstanceType], call: Call) -> tuple[Price, ...]:
        rows = self._arm.retail_prices(types, self._arm.began(call)) if types else []
        return prices.prices(types, rows, self._parameters.location)

    def quota_group(self, instance_type: InstanceType) -> str:
        """Spot machines of all sizes share one quota; the others are counted by family."""
        return self._named_group(instance_type) or family(instance_type.provider_type)

    def _named_group(self, instance_type: InstanceType) -> str:
        """Of spot machines, and where the site names one."""
        if instance_type.preemptible:
            return quotas.SPOT
        size = instance_type.provider_type
        fitting = [prefix for prefix in self._parameters.quota_groups if size.lower().startswith(prefix.lower())]
        if fitting:
            return quotas.plain(self._parameters.quota_groups[max(fitting, key=len)])
        return ""


def family(vm_size: str) -> str:
    """As Azure's quotas call it, in lower case: ``Standard_E16-4as_v5`` → ``standardeasv5family``."""
    without_size = re.sub(r"^((?:standard|basic)_[a-z]+)\d+(?:-\d+)?", r"\1", vm_size.lower())
    return f"{quotas.plain(without_size)}family"


def _whole(list_all: Callable[[Leash], Found], leash: Leash) -> Sequence[JSON]:
    """A list, or nothing at all when a part of it is missing."""
    try:
        listed = list_all(leash)
    except CloudError:
        return ()
    return listed.items if listed.error is None else ()


def _operation(exchange: Exchange, vm_size: str, zone: str | None) -> str | None:
    headers = {name.lower(): value for name, value in exchange.headers.items()}
    url = headers.get("azure-asyncoperation", "")
    return handle(url, vm_size, zone) if url else None
