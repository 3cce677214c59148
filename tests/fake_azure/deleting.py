"""How things go: machines with what belongs to them, and what was left behind one by one.

Called with the lock of the account held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_azure import errors
from tests.fake_azure.errors import ArmError
from tests.fake_azure.model import Attached, Card, Disk, Machine, PublicAddress

if TYPE_CHECKING:
    from tests.fake_azure.account import Account


def delete_machine(account: Account, machine: Machine, now: float) -> None:
    """Begin to delete it. Whatever was still being done with it is preempted."""
    if now >= machine.deleting_s:
        if account.happens("delete: marked already", account.knobs.delete_conflict_rate):
            raise ArmError(errors.marked_for_deletion(machine.name))
        return
    _preempt_create(account, machine, now)
    ends_s = now + account.random.uniform(0, account.knobs.max_delete_s)
    if account.happens("delete: stuck", account.knobs.stuck_delete_rate):
        ends_s += account.knobs.stuck_delete_s
    machine.deleting_s, machine.gone_s = now, ends_s
    for key in machine.card_keys:
        _let_go(account, account.inventory.cards[key], ends_s)
    for key in machine.disk_keys:
        _let_go(account, account.inventory.disks[key], ends_s)
    machine.delete_operation = account.new_operation(machine.id, now, ends_s).id


def evict_machine(account: Account, machine: Machine, now: float) -> None:
    """Azure takes a spot machine back: gone at once, and its card or disk may stay."""
    account.faults["machine evicted"] += 1
    delete_machine(account, machine, now)
    machine.gone_s = now
    for key in (*machine.card_keys, *machine.disk_keys):
        belonging = account.inventory.cards.get(key) or account.inventory.disks[key]
        belonging.gone_s, belonging.freed_s = min(belonging.gone_s, now + 1), min(belonging.freed_s, now)


def _preempt_create(account: Account, machine: Machine, now: float) -> None:
    operation = account.inventory.operations.get(machine.create_operation)
    if operation is not None and now < operation.ends_s:
        operation.ends_s, operation.canceled, operation.failure = now, True, errors.preempted()


def _let_go(account: Account, belonging: Attached, at_s: float) -> None:
    """It goes with its machine when it was told to, unless Azure forgets about it."""
    forgotten = account.happens("delete: orphan", account.knobs.orphan_rate)
    if belonging.dies_with_it and not forgotten:
        belonging.gone_s = at_s
    else:
        belonging.freed_s, belonging.freed_at = at_s, account.stamp(at_s)
        if isinstance(belonging, Card) and forgotten and account.random.random() < 0.5:
            belonging.reserved_until_s = at_s + account.knobs.card_reserved_s
    if isinstance(belonging, Card) and belonging.public_key:
        _let_go(account, account.inventory.addresses[belonging.public_key], at_s)


def delete_card(account: Account, card: Card, now: float) -> None:
    if card.owner_at(now):
        raise ArmError(errors.card_in_use(card.id, card.owner_id))
    if now < card.reserved_until_s:
        account.faults["card: reserved"] += 1
        raise ArmError(errors.card_reserved(card.id, card.owner_id, round(account.knobs.card_reserved_s)))
    if account.happens("card: locked", account.knobs.card_locked_rate):
        raise ArmError(errors.card_locked(card.name))
    card.gone_s = min(card.gone_s, now + account.random.uniform(0, account.knobs.max_delete_s / 4))
    if card.public_key:
        address = account.inventory.addresses[card.public_key]
        address.freed_s = min(address.freed_s, card.gone_s)


def delete_disk(account: Account, disk: Disk, now: float) -> None:
    if disk.owner_at(now):
        raise ArmError(errors.disk_attached(disk.id, disk.owner_id))
    disk.gone_s = min(disk.gone_s, now + account.random.uniform(0, account.knobs.max_delete_s / 4))


def delete_public_address(account: Account, address: PublicAddress, now: float) -> None:
    if address.owner_at(now):
        raise ArmError(errors.address_in_use(address.id, address.owner_id))
    address.gone_s = min(address.gone_s, now)
