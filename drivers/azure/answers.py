"""What Azure's lists say, as instances of the contract. Pure: JSON in, values out.

Nothing is taken for granted: members may be absent or null, ids differ in case, and a machine's address stands on its card.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dispatcher.driver import CloudError, HostKey, Instance, Presence
from drivers.azure.errors import COMES_UP_LATE, Refusal, error_of, row_of
from drivers.azure.names import UPSTREAM_USER, Marks

JSON = Mapping[str, Any]
DELETING = "Deleting"
FAILED = "Failed"
FAILED_CODE = "ProvisioningState/failed/"


def part(value: object, *path: str) -> JSON:
    """The mapping at this path; empty when any step is absent or null."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def parts(value: object, *path: str) -> list[JSON]:
    """The mappings in the list at this path."""
    *before, last = path
    found = part(value, *before).get(last)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


# -------------------------------------------------------------------------------------------------------------- addresses


def addresses(cards: Iterable[JSON]) -> dict[str, str]:
    """Id of a network card, in lower case → its private address."""
    found = {text(card.get("id")).lower(): _private_address(card) for card in cards}
    return {card_id: address for card_id, address in found.items() if card_id and address}


def _private_address(card: JSON) -> str:
    """That of the primary configuration, else of the first that has one."""
    given = [part(one, "properties") for one in parts(card, "properties", "ipConfigurations")]
    given.sort(key=lambda one: one.get("primary") is not True)
    return next((address for one in given if (address := text(one.get("privateIPAddress")))), "")


def _card_ids(vm: JSON) -> list[str]:
    cards = parts(vm, "properties", "networkProfile", "networkInterfaces")
    cards.sort(key=lambda card: part(card, "properties").get("primary") is not True)
    return [text(card.get("id")).lower() for card in cards]


def address_of(vm: JSON, known: Mapping[str, str]) -> str | None:
    return next((known[card_id] for card_id in _card_ids(vm) if card_id in known), None)


# -------------------------------------------------------------------------------------------------------------- instances


def provisioning_state(resource: JSON) -> str:
    return text(part(resource, "properties").get("provisioningState"))


def is_failed(vm: JSON) -> bool:
    return provisioning_state(vm).lower() == FAILED.lower()


def is_deleting(vm: JSON) -> bool:
    return provisioning_state(vm).lower() == DELETING.lower()


def instance_of(
    vm: JSON, known_addresses: Mapping[str, str], marks: Marks, *, user: str, failure: CloudError | None = None
) -> Instance:
    """``user``: as whom an instance without a login tag is reached; ``failure``: what is known of a failed create."""
    tags = marks.spelled(part(vm, "tags"))
    key = host_key(tags.get(marks.host_key_key, ""))
    return Instance(
        id=text(vm.get("id")),
        name=text(vm.get("name")),
        provider_type=text(part(vm, "properties", "hardwareProfile").get("vmSize")),
        address=address_of(vm, known_addresses),
        user=tags.get(marks.user_key) or user or UPSTREAM_USER,
        tags=marks.shown(tags),
        created_at=text(part(vm, "properties").get("timeCreated")) or None,
        state=_presence(vm, failure),
        failure=failure,
        host_keys=(key,) if key is not None else (),
    )


def _presence(vm: JSON, failure: CloudError | None) -> Presence:
    if is_deleting(vm):
        return Presence.DELETING
    return Presence.FAILED if failure is not None else Presence.PRESENT


def host_key(tag: str) -> HostKey | None:
    """From the tag of the driver: ``ssh-ed25519 AAAA…``."""
    words = tag.split()
    return HostKey(words[0], words[1]) if len(words) == 2 else None


def failure_in_view(view: JSON) -> CloudError | None:
    """Why a machine counts as failed, when that means that it will never run: nothing was allocated, or no quota is left. What
    came up badly may still come up, and an update that failed harms nothing."""
    for status in parts(view, "statuses"):
        code = text(status.get("code"))
        if code.startswith(FAILED_CODE):
            refusal = Refusal(status=None, codes=(code.removeprefix(FAILED_CODE),), message=text(status.get("message")))
            return lasting_failure(refusal)
    return None


def lasting_failure(refusal: Refusal) -> CloudError | None:
    """The error, unless the machine may still come up."""
    return None if row_of(refusal) is COMES_UP_LATE or _says_nothing(refusal) else error_of(refusal)


def _says_nothing(refusal: Refusal) -> bool:
    return type(error_of(refusal)) is CloudError


def check_created_before(vm: JSON, marks: Marks, name: str) -> None:
    """The answer to a create whose name exists already is the same instance, if it is ours and stays. Raises CloudError."""
    if not marks.owns(part(vm, "tags")):
        raise CloudError(f"{name} exists already and is not ours: its tag {marks.set_key} names another set, or is missing")
    if is_deleting(vm):
        raise CloudError(f"{name} is being deleted")
