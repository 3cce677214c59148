"""What lists say, as instances and leftovers: whose they are, where they answer, what is left behind by nobody."""

from __future__ import annotations

from typing import Any

import pytest
from azure_world import GROUP, NAME, SET_ID, TAGS, VM_ID, card, vm

from dispatcher.driver import CloudError, HostKey, NoCapacity, Presence
from drivers.azure.answers import addresses, check_created_before, host_key, instance_of
from drivers.azure.driver import family
from drivers.azure.leftovers import ADDRESS, CARD, DISK, address_leftovers, card_leftovers, disk_leftovers, still_free
from drivers.azure.names import Marks, check_name, check_tags
from drivers.azure.zones import Zones, handle, unpack

MARKS = Marks(prefix="Arvados", set_id=SET_ID)


def shown(machine: dict[str, Any], *, user: str = "", **more: Any) -> Any:
    return instance_of(machine, addresses([card()]), MARKS, user=user, **more)


# -------------------------------------------------------------------------------------------------------------- instances


def test_a_machine_is_shown_with_the_address_of_its_card() -> None:
    """Ids are compared without regard to case: Azure writes its groups now so, now so."""
    found = shown(vm())
    assert (found.name, found.address, found.provider_type) == (NAME, "10.0.0.4", "Standard_D2s_v5")
    assert (found.state, found.created_at) == (Presence.PRESENT, "2026-01-02T03:04:05Z")


@pytest.mark.parametrize(
    ("tags", "configured", "user"),
    [
        ({}, "", "crunch"),
        ({}, "compute", "compute"),
        ({"ArvadosLoginUser": "root"}, "", "root"),
        ({"arvadosloginuser": "root"}, "compute", "root"),
        ({"ArvadosLoginUser": "crunch"}, "", "crunch"),
    ],
)
def test_a_fleet_is_adopted_with_the_user_that_each_machine_was_made_with(
    tags: dict[str, str], configured: str, user: str
) -> None:
    """What the Go dispatcher made carries no such tag and is reached as it reaches it; what was made here says its user."""
    assert shown(vm(tags={**TAGS, **tags}), user=configured).user == user


def test_what_only_the_driver_needs_is_not_shown() -> None:
    """The core sees exactly the tags that it gave, in the spelling that it gave them."""
    own = {"ArvadosLoginUser": "root", "ArvadosHostKey": "ssh-ed25519 AAAA", "created-at": "2026"}
    assert shown(vm(tags={**TAGS, **own, "site": "x"})).tags == {**TAGS, "site": "x"}
    lowered = {name.lower(): value for name, value in TAGS.items()}
    assert shown(vm(tags=lowered)).tags == TAGS


def test_a_host_key_in_the_tag_is_vouched_for() -> None:
    """It was put there by whoever made the machine."""
    assert shown(vm(tags={**TAGS, "ArvadosHostKey": "ssh-ed25519 AAAA"})).host_keys == (HostKey("ssh-ed25519", "AAAA"),)
    assert shown(vm()).host_keys == ()
    assert host_key("garbage") is None


@pytest.mark.parametrize(("state", "presence"), [
    ("Creating", Presence.PRESENT), ("Succeeded", Presence.PRESENT), ("Updating", Presence.PRESENT), ("Failed", Presence.PRESENT),
    ("Deleting", Presence.DELETING), ("", Presence.PRESENT),
])  # fmt: skip
def test_failed_alone_is_not_dead(state: str, presence: Presence) -> None:
    """A machine that came up late counts as failed for ever, and runs."""
    assert shown(vm(state=state)).state is presence


def test_a_reason_makes_it_failed_unless_it_goes_already() -> None:
    """The core then destroys it and asks for another type."""
    failure = NoCapacity("no room")
    assert shown(vm(state="Failed"), failure=failure).state is Presence.FAILED
    assert shown(vm(state="Deleting"), failure=failure).state is Presence.DELETING


@pytest.mark.parametrize(
    "machine", [{}, {"properties": None}, {"tags": None, "properties": {"networkProfile": None}}, {"name": 3}]
)
def test_absent_and_null_members_are_no_crash(machine: dict[str, Any]) -> None:
    """Azure leaves out what it has not made yet."""
    assert instance_of(machine, {}, MARKS, user="").address is None


def test_the_primary_address_is_taken() -> None:
    """Whatever its place in the list."""
    second = card()
    second["properties"]["ipConfigurations"].insert(0, {"properties": {"privateIPAddress": "10.9.9.9", "primary": False}})
    assert addresses([second, {"id": "x"}, {}]) == {second["id"].lower(): "10.0.0.4"}


def test_a_name_that_exists_is_an_answer_only_when_it_is_ours_and_stays() -> None:
    """The same name sent again after an answer was lost."""
    check_created_before(vm(), MARKS, NAME)
    with pytest.raises(CloudError, match="not ours"):
        check_created_before(vm(tags={"ArvadosInstanceSetID": "other"}), MARKS, NAME)
    with pytest.raises(CloudError, match="being deleted"):
        check_created_before(vm(state="Deleting"), MARKS, NAME)


# -------------------------------------------------------------------------------------------------------------- leftovers


def disk(name: str = f"{NAME}-os", state: str = "Unattached", **more: Any) -> dict[str, Any]:
    properties = {"diskState": state, "timeCreated": "2026-01-01T00:00:00Z", "LastOwnershipUpdateTime": "2026-01-02T00:00:00Z"}
    return {"id": f"{GROUP}/providers/Microsoft.Compute/disks/{name}", "name": name, "properties": properties, **more}


def address(name: str = f"{NAME}-ip", **properties: Any) -> dict[str, Any]:
    return {"id": f"{GROUP}/providers/Microsoft.Network/publicIPAddresses/{name}", "name": name, "properties": properties}


OTHERS = {"tags": {"ArvadosInstanceSetID": "other"}}
OURS = {"tags": {"arvadosinstancesetid": SET_ID}}
CASES: list[tuple[str, dict[str, Any], bool]] = [
    (CARD, card(free=True), True),
    (CARD, card(), False),
    (CARD, card(free=True, **OTHERS), False),
    (CARD, card("someones", free=True), False),
    (CARD, card("someones", free=True, **OURS), True),
    (CARD, card(free=True, name=f"{NAME}-nic-1a2b"), True),
    (CARD, card(free=True, name=f"{NAME}-backup"), False),
    (CARD, card(free=True, name="compute-other-set-abcdefghij01234-nic"), False),
    (CARD, card(free=True, name=f"compute-{SET_ID}-short-nic"), False),
    (DISK, disk(), True),
    (DISK, disk(f"{NAME}-scratch"), True),
    (DISK, disk(f"{NAME}-snapshot"), False),
    (DISK, disk(state="Attached"), False),
    (DISK, disk(state="Reserved"), False),
    (DISK, disk(managedBy=VM_ID), False),
    (DISK, disk(**OTHERS), False),
    (DISK, disk("data-of-somebody"), False),
    (ADDRESS, address(), True),
    (ADDRESS, address(ipConfiguration={"id": "x"}), False),
    (ADDRESS, address(natGateway={"id": "x"}), False),
    (ADDRESS, address("gateway"), False),
]


@pytest.mark.parametrize(("kind", "resource", "left"), CASES, ids=[f"{row[0]}-{number}" for number, row in enumerate(CASES)])
def test_only_what_is_ours_and_nobodys_is_left_over(kind: str, resource: dict[str, Any], left: bool) -> None:
    """By our tag, or without any by our way of naming; never what is attached, and never another set's."""
    find = {CARD: card_leftovers, DISK: disk_leftovers, ADDRESS: address_leftovers}[kind]
    found = find([resource], MARKS)
    assert [one.id for one in found] == ([resource["id"]] if left else [])
    assert still_free(resource, kind, MARKS) is left


@pytest.mark.parametrize("state", ["Updating", "Deleting", "Creating"])
def test_what_is_just_being_changed_is_left_alone(state: str) -> None:
    """It may be on its way to a machine, or gone in a moment."""
    busy = card(free=True)
    busy["properties"]["provisioningState"] = state
    assert card_leftovers([busy], MARKS) == ()


def test_a_disk_is_as_old_as_its_last_owner() -> None:
    """One that was attached until a moment ago is young, however long it exists."""
    (found,) = disk_leftovers([disk()], MARKS)
    assert found.created_at == "2026-01-02T00:00:00Z"


# -------------------------------------------------------------------------------------------------- names, zones, families


@pytest.mark.parametrize("name", ["", "a_b", "-a", "a-", "a" * 65, "über", "a/b", "a b"])
def test_a_name_that_azure_would_refuse_is_not_sent(name: str) -> None:
    """Nor is a path made of it."""
    with pytest.raises(CloudError):
        check_name(name)


@pytest.mark.parametrize("tags", [{"a/b": ""}, {"a": "x" * 257}, {"": "x"}, {"a" * 513: ""}, {str(n): "" for n in range(51)}])
def test_tags_that_azure_would_refuse_are_not_sent(tags: dict[str, str]) -> None:
    """50 of them, 512 and 256 characters, none of <>%&\\?/ in a name."""
    with pytest.raises(CloudError):
        check_tags(tags)


def test_without_a_set_nothing_is_ours() -> None:
    """An empty id must not own all machines without a tag."""
    assert not Marks(prefix="Arvados", set_id="").owns({"ArvadosInstanceSetID": ""})


def test_zones_are_spread_and_a_refusing_one_comes_last() -> None:
    """Every zone is still tried."""
    zones = Zones(("1", "2", "3"))
    first = {zones.in_order("size", f"name-{number}")[0] for number in range(40)}
    assert first == {"1", "2", "3"}
    zones.refused("size", "2")
    assert {zones.in_order("size", f"name-{number}")[2] for number in range(40)} == {"2"}
    assert {zones.in_order("other", f"name-{number}")[0] for number in range(40)} == {"1", "2", "3"}
    zones.granted("size", "2")
    assert {zones.in_order("size", f"name-{number}")[0] for number in range(40)} == {"1", "2", "3"}
    assert Zones(()).in_order("size", "name") == (None,)


def test_a_handle_tells_what_was_asked_for() -> None:
    """So that a failure that comes late is known to be of this size in this zone."""
    url = "https://arm.example/operations/1?api-version=2"
    assert unpack(handle(url, "Standard_D2s_v5", "2")) == (url, "Standard_D2s_v5", "2")
    assert unpack(handle(url, "Standard_D2s_v5", None)) == (url, "Standard_D2s_v5", None)


@pytest.mark.parametrize(("size", "name"), [
    ("Standard_D8as_v5", "standarddasv5family"), ("Standard_D2as_v5", "standarddasv5family"),
    ("Standard_D8s_v5", "standarddsv5family"), ("Standard_E16-4as_v5", "standardeasv5family"),
    ("Standard_A1_v2", "standardav2family"), ("Standard_NC6", "standardncfamily"), ("weird", "weirdfamily"),
])  # fmt: skip
def test_a_family_is_a_size_without_its_numbers(size: str, name: str) -> None:
    """Quotas of Azure are counted by family."""
    assert family(size) == name
