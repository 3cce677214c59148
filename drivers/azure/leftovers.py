"""Network cards, addresses and disks of ours that no machine uses any more. Pure: lists in, leftovers out.

Ours is what carries our InstanceSetID, or carries none and is called as we call things. What is attached, is just being changed
or belongs to another set is never named; how often and how long it has to be seen is the core's rule.
"""

from __future__ import annotations

from collections.abc import Iterable

from dispatcher.driver import Leftover
from drivers.azure.answers import JSON, part, provisioning_state, text
from drivers.azure.names import Marks

CARD, ADDRESS, DISK = "network card", "address", "disk"
PROVIDERS = {
    CARD: "Microsoft.Network/networkInterfaces",
    ADDRESS: "Microsoft.Network/publicIPAddresses",
    DISK: "Microsoft.Compute/disks",
}
_BUSY = ("updating", "deleting", "creating")
_SUFFIXES = {CARD: ("nic",), ADDRESS: ("ip",), DISK: ("os", "scratch")}


def card_leftovers(cards: Iterable[JSON], marks: Marks) -> tuple[Leftover, ...]:
    return tuple(_leftover(card, CARD) for card in cards if _is_ours(card, CARD, marks) and not _has(card, "virtualMachine"))


def address_leftovers(addresses: Iterable[JSON], marks: Marks) -> tuple[Leftover, ...]:
    free = [one for one in addresses if not _has(one, "ipConfiguration") and not _has(one, "natGateway")]
    return tuple(_leftover(address, ADDRESS) for address in free if _is_ours(address, ADDRESS, marks))


def disk_leftovers(disks: Iterable[JSON], marks: Marks) -> tuple[Leftover, ...]:
    free = [disk for disk in disks if not disk.get("managedBy") and part(disk, "properties").get("diskState") == "Unattached"]
    return tuple(_leftover(disk, DISK) for disk in free if _is_ours(disk, DISK, marks))


def still_free(resource: JSON, kind: str, marks: Marks) -> bool:
    """Whether what was listed as left over is so just before it is removed."""
    find = {CARD: card_leftovers, ADDRESS: address_leftovers, DISK: disk_leftovers}[kind]
    return bool(find([resource], marks))


def _is_ours(resource: JSON, kind: str, marks: Marks) -> bool:
    if provisioning_state(resource).lower() in _BUSY or not text(resource.get("id")):
        return False
    tags = part(resource, "tags")
    if marks.owns(tags):
        return True
    match = marks.made_here(text(resource.get("name")))
    return match is not None and match[2].lower() in _SUFFIXES[kind] and not marks.belongs_to_others(tags)


def _has(resource: JSON, member: str) -> bool:
    return bool(part(resource, "properties").get(member))


def _leftover(resource: JSON, kind: str) -> Leftover:
    stamps = [text(part(resource, "properties").get(name)) for name in ("timeCreated", "LastOwnershipUpdateTime")]
    return Leftover(text(resource.get("id")), kind, max((stamp for stamp in stamps if stamp), default=None))
