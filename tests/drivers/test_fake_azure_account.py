"""The fake Azure as a value: what exists, what a list shows of it, and every refusal, in a time that is set by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from stub_world import HandClock

from tests.fake_azure.account import Account, Answer
from tests.fake_azure.bodies import changed, full_body, machine_body, spot_body
from tests.fake_azure.client import Client, code_of
from tests.fake_azure.faults import Mishap
from tests.fake_azure.knobs import Knobs
from tests.fake_azure.site import Site

NAME = "vm-1"


class World:
    """An account, a client of it, and the clock of both."""

    def __init__(self, site: Site | None = None, **knobs: Any) -> None:
        self.clock = HandClock()
        self.account = Account(now=self.clock, site=site, knobs=Knobs.kind(**knobs), seed=1)
        self.client = Client(self.account)

    def later(self, seconds: float) -> None:
        self.clock.now_s += seconds

    def turn(self, **knobs: Any) -> None:
        self.account.knobs = dataclasses.replace(self.account.knobs, **knobs)

    def kinds_left(self) -> list[str]:
        return sorted({resource_id.split("/")[-2] for resource_id in self.account.left()})


# -------------------------------------------------------------------------------------------------------------- machines


def test_a_create_is_accepted_and_then_provisioned() -> None:
    """201 with a place to ask and a pace; the operation and the machine agree about when it is there."""
    world = World(create_takes_s=30.0)
    created = world.client.create(NAME)
    assert (created.status, created.body["properties"]["provisioningState"]) == (201, "Creating")
    assert created.headers["Retry-After"] == "2"
    operation = created.headers["Azure-AsyncOperation"]
    assert world.client.follow(operation).body["status"] == "InProgress"
    world.later(30.0)
    assert world.client.follow(operation).body["status"] == "Succeeded"
    assert world.client.state(NAME) == "Succeeded"
    assert world.account.judge.violations == []


def test_secrets_are_never_shown_again() -> None:
    """customData is written once."""
    world = World()
    assert "customData" not in str(world.client.create(NAME).body)
    assert "customData" not in str(world.client.get("vm", NAME).body)


def test_one_delete_takes_card_and_disks_along() -> None:
    """With deleteOption Delete everywhere nothing remains; the machine shows as Deleting until then."""
    world = World(max_delete_s=10.0)
    world.client.create(NAME, full_body(NAME))
    assert world.kinds_left() == ["disks", "networkInterfaces", "publicIPAddresses", "virtualMachines"]
    deleted = world.client.delete("vm", NAME)
    assert deleted.status == 202
    assert world.client.state(NAME) == "Deleting"
    world.later(11.0)
    assert world.account.left() == []
    assert world.client.follow(deleted.headers["Azure-AsyncOperation"]).body["status"] == "Succeeded"
    assert world.client.follow(deleted.headers["Location"]).status == 200
    assert world.client.delete("vm", NAME).status == 204


def test_what_is_to_be_detached_stays() -> None:
    """Detach, or nothing said: card and disk outlive their machine and can be deleted by themselves."""
    world = World()
    body = changed(machine_body(NAME), "properties.storageProfile.osDisk.deleteOption", "Detach")
    card = "properties.networkProfile.networkInterfaceConfigurations.0.properties.deleteOption"
    world.client.create(NAME, changed(body, card, ...))
    world.client.delete("vm", NAME)
    assert world.kinds_left() == ["disks", "networkInterfaces"]
    disk = world.client.get("disk", f"{NAME}-os").body
    assert (disk["properties"]["diskState"], "managedBy" in disk) == ("Unattached", False)
    assert "virtualMachine" not in world.client.get("card", f"{NAME}-nic").body["properties"]
    assert [world.client.delete("disk", f"{NAME}-os").status, world.client.delete("card", f"{NAME}-nic").status] == [202, 202]
    assert world.account.left() == []


def test_what_a_machine_uses_cannot_be_deleted() -> None:
    """Card, disk and address, each with its own words."""
    world = World()
    world.client.create(NAME, full_body(NAME))
    answers = [world.client.delete("card", f"{NAME}-nic"), world.client.delete("disk", f"{NAME}-os")]
    answers.append(world.client.delete("address", f"{NAME}-ip"))
    assert [(answer.status, code_of(answer)) for answer in answers] == [
        (400, "NicInUse"),
        (409, "OperationNotAllowed"),
        (400, "PublicIPAddressCannotBeDeleted"),
    ]


def test_a_forgotten_card_is_reserved_for_a_while() -> None:
    """What Azure forgets to delete stays; some cards can be deleted only after three minutes."""
    world = World(orphan_rate=1.0)
    for number in range(8):
        world.client.create(f"vm-{number}")
        world.client.delete("vm", f"vm-{number}")
    assert world.kinds_left() == ["disks", "networkInterfaces"]
    codes = {code_of(world.client.delete("card", name)) for name in world.client.names("card")}
    assert codes == {"", "NicReservedForAnotherVm"}
    world.later(181.0)
    assert {world.client.delete("card", name).status for name in world.client.names("card")} <= {202}
    assert world.kinds_left() == ["disks"]


def test_a_delete_stops_a_create_that_still_runs() -> None:
    """The operation of the create says that it was preempted."""
    world = World(create_takes_s=60.0)
    operation = world.client.create(NAME).headers["Azure-AsyncOperation"]
    world.client.delete("vm", NAME)
    world.later(1.0)
    status = world.client.follow(operation).body
    assert (status["status"], status["error"]["code"]) == ("Canceled", "OperationPreempted")


def test_a_second_delete_is_accepted_or_refused_as_marked_already() -> None:
    """Azure does the one or the other."""
    world = World(max_delete_s=1000.0)
    world.client.create(NAME)
    assert [world.client.delete("vm", NAME).status for _ in range(2)] == [202, 202]
    world.turn(delete_conflict_rate=1.0)
    refused = world.client.delete("vm", NAME)
    assert (refused.status, code_of(refused)) == (409, "OperationNotAllowed")
    assert "marked for deletion" in refused.body["error"]["message"]


def test_an_update_replaces_all_tags() -> None:
    """Not merged; and not while the machine goes."""
    world = World(max_delete_s=1000.0)
    path = f"Microsoft.Compute/virtualMachines/{NAME}"
    world.client.create(NAME)
    assert world.client.send("PATCH", path, {"tags": {"a": "b"}}).body["tags"] == {"a": "b"}
    assert world.client.get("vm", NAME).body["tags"] == {"a": "b"}
    world.client.delete("vm", NAME)
    assert world.client.send("PATCH", path, {"tags": {}}).status == 409


def test_an_update_of_another_version_is_refused() -> None:
    """If-Match makes a read and a write of tags safe."""
    world = World()
    path = f"Microsoft.Compute/virtualMachines/{NAME}"
    etag = world.client.create(NAME).body["etag"]
    assert world.client.send("PATCH", path, {"tags": {}}, {"if-match": etag}).status == 200
    assert world.client.send("PATCH", path, {"tags": {}}, {"if-match": etag}).status == 412


def test_tags_can_be_merged() -> None:
    """The tags service knows Merge and Delete."""
    world = World()
    world.client.create(NAME)
    path = f"Microsoft.Compute/virtualMachines/{NAME}/providers/Microsoft.Resources/tags/default"
    body = {"operation": "Merge", "properties": {"tags": {"a": "b"}}}
    merged = world.client.send("PATCH", path, body, api_version="2021-04-01")
    assert merged.body["properties"]["tags"] == {"InstanceSetID": "test", "a": "b"}


def test_the_same_name_again() -> None:
    """The same machine: the same answer. Create-only: 412. Another machine, or one that goes: 409."""
    world = World(max_delete_s=1000.0)
    world.client.create(NAME)
    assert world.client.create(NAME).status == 200
    assert len(world.account.machines()) == 1
    assert world.client.create(NAME, headers={"if-none-match": "*"}).status == 412
    other = changed(machine_body(NAME), "properties.osProfile.adminUsername", "other")
    other = changed(other, "properties.osProfile.linuxConfiguration.ssh.publicKeys.0.path", "/home/other/.ssh/authorized_keys")
    assert code_of(world.client.create(NAME, other)) == "PropertyChangeNotAllowed"
    world.client.delete("vm", NAME)
    assert "marked for deletion" in world.client.create(NAME).body["error"]["message"]


# --------------------------------------------------------------------------------------------------- refusals of a create


def placed(path: str, value: Any) -> Callable[[], dict[str, Any]]:
    return lambda: changed(machine_body(NAME), path, value)


VM_SIZE = "properties.hardwareProfile.vmSize"
IMAGE = "properties.storageProfile.imageReference.id"
SUBNET = "properties.networkProfile.networkInterfaceConfigurations.0.properties.ipConfigurations.0.properties.subnet.id"
OTHER_IMAGE = f"{Site().base('compute-group')}/Microsoft.Compute/images/other"


@pytest.mark.parametrize(
    ("knobs", "site", "body", "status", "code", "text"),
    [
        ({}, {}, placed(VM_SIZE, "Standard_X9"), 400, "InvalidParameter", "Standard_X9"),
        ({}, {}, placed(VM_SIZE, "Standard_NC6"), 409, "SkuNotAvailable", "Capacity Restrictions: Standard_NC6"),
        ({}, {}, placed("location", "westus"), 400, "LocationNotAvailableForResourceType", "westus"),
        ({}, {}, placed(IMAGE, OTHER_IMAGE), 404, "ImageNotFound", "other"),
        ({}, {}, placed(SUBNET, "/nowhere"), 400, "InvalidResourceReference", "/nowhere"),
        ({}, {"family_cores": 1}, placed("location", "eastus"), 409, "OperationNotAllowed", "standardDSv5Family Cores quota"),
        ({}, {"regional_cores": 1}, placed("location", "eastus"), 409, "OperationNotAllowed", "Total Regional Cores quota"),
        ({}, {"spot_cores": 1}, lambda: spot_body(NAME), 409, "OperationNotAllowed", "LowPriorityCores quota"),
        ({"spot_price": 0.5}, {}, lambda: spot_body(NAME, max_price=0.1), 409, "SpotPriceGreaterThanProvidedMaxPrice", ""),
        ({"no_capacity": frozenset(["Standard_D2s_v5"])}, {}, placed("location", "eastus"), 409, "SkuNotAvailable", "D2s_v5"),
        ({"no_capacity_in_zone": {"1": "Standard_D2s_v5"}}, {}, lambda: spot_body(NAME), 409, "ZonalAllocationFailed", "zone: 1"),
        ({"conflict_rate": 1.0}, {}, placed("location", "eastus"), 409, "AnotherOperationInProgress", NAME),
    ],
)
def test_a_create_is_refused(
    knobs: dict[str, Any], site: dict[str, Any], body: Callable[[], dict[str, Any]], status: int, code: str, text: str
) -> None:
    """By status, code and words; nothing is made, and the caller did nothing wrong."""
    world = World(Site(**site), **knobs)
    answer = world.client.create(NAME, body())
    assert (answer.status, code_of(answer)) == (status, code)
    assert text in answer.body["error"]["message"]
    assert world.account.left() == []
    assert world.account.judge.violations == []


def test_quota_counts_what_is_still_being_deleted() -> None:
    """And says the numbers."""
    world = World(Site(family_cores=3), max_delete_s=100.0)
    world.client.create(NAME)
    world.client.delete("vm", NAME)
    message = world.client.create("vm-2").body["error"]["message"]
    assert "Current Limit: 3, Current Usage: 2, Additional Required: 2" in message
    world.later(101.0)
    assert world.client.create("vm-2").status == 201


def test_what_is_refused_at_once_may_leave_its_card() -> None:
    """Want of capacity shows after the card was made, every other time."""
    world = World(sync_failure_rate=1.0)
    answers = [world.client.create(f"vm-{number}") for number in range(20)]
    assert {answer.status for answer in answers} == {409}
    assert {code_of(answer) for answer in answers} == {"AllocationFailed", "OverconstrainedAllocationRequest", "SkuNotAvailable"}
    assert world.kinds_left() == ["networkInterfaces"]
    assert 0 < len(world.account.left()) < 20


def test_an_accepted_create_may_fail_later() -> None:
    """The operation says why, sometimes among the details; the shell of the machine remains, or only its card and disk."""
    world = World(late_failure_rate=1.0, create_takes_s=5.0, shell_less_failure_rate=0.5, wrapped_failure_rate=0.5)
    operations = [world.client.create(f"vm-{number}").headers["Azure-AsyncOperation"] for number in range(30)]
    world.later(6.0)
    statuses = [world.client.follow(operation).body for operation in operations]
    assert {status["status"] for status in statuses} == {"Failed"}
    codes = {status["error"]["code"] for status in statuses}
    assert {"ResourceDeploymentFailure", "AllocationFailed", "OperationNotAllowed", "OSProvisioningTimedOut"} <= codes
    assert any(status["error"].get("details") for status in statuses)
    states = {world.client.state(f"vm-{number}") for number in range(30)}
    assert states == {"Failed", "gone"}
    view = next(machine for machine in world.account.machines() if machine.failure)
    live = world.client.send("GET", f"Microsoft.Compute/virtualMachines/{view.name}/instanceView").body
    assert live["statuses"][0]["code"].startswith("ProvisioningState/failed/")


def test_a_name_whose_disk_was_left_behind_cannot_be_used_again() -> None:
    """The disk of the dead machine has to go first."""
    world = World(late_failure_rate=1.0, shell_less_failure_rate=1.0)
    while world.client.state(NAME) != "gone" or not world.account.left():
        world.client.create(NAME)
        world.client.delete("vm", NAME)
    assert code_of(world.client.create(NAME)) == "ConflictingUserInput"


# ------------------------------------------------------------------------------------------------------------------ lists


def test_a_list_has_pages() -> None:
    """Each name once, in all pages together, however many."""
    world = World(page_size=3)
    names = [f"vm-{number:02}" for number in range(10)]
    for name in names:
        world.client.create(name)
    assert world.client.names("vm") == names
    assert len(world.client.page("vm").body["value"]) == 3
    assert world.client.names("card") == [f"{name}-nic" for name in names]


def test_a_list_lags_behind() -> None:
    """A new machine may be missing, and a dead one may show."""
    world = World(list_lag_s=10.0)
    world.later(100.0)
    world.client.create(NAME)
    world.later(1.0)
    assert {tuple(world.client.names("vm")) for _ in range(30)} == {(), (NAME,)}
    world.later(100.0)
    world.client.delete("vm", NAME)
    world.later(1.0)
    assert {tuple(world.client.names("vm")) for _ in range(30)} == {(), (NAME,)}
    world.later(11.0)
    assert world.client.names("vm") == []


def test_a_machine_may_be_listed_before_its_tags_are() -> None:
    """A look at it shows them; so does a list some seconds later."""
    world = World(max_untagged_s=8.0)
    world.client.create(NAME)
    assert "tags" not in world.client.page("vm").body["value"][0]
    assert world.client.get("vm", NAME).body["tags"]
    world.later(8.0)
    assert world.client.page("vm").body["value"][0]["tags"]


def test_a_delete_may_seem_to_have_no_end() -> None:
    """Accepted, shown as Deleting for long, gone in the end."""
    world = World(stuck_delete_rate=1.0)
    world.client.create(NAME)
    world.client.delete("vm", NAME)
    world.later(44.0)
    assert world.client.state(NAME) == "Deleting"
    world.later(2.0)
    assert world.client.names("vm") == []


def test_a_machine_that_works_may_count_as_failed() -> None:
    """It was Succeeded before, and no code says why."""
    world = World(flap_rate=1.0, max_flap_s=0.0, create_takes_s=5.0)
    world.client.create(NAME)
    world.later(5.0)
    assert world.client.state(NAME) == "Failed"
    assert world.account.machines()[0].failure is None


def test_pages_break() -> None:
    """A link that has expired, a page that repeats the one before, a link in a circle."""
    world = World(page_size=3)
    for number in range(7):
        world.client.create(f"vm-{number}")
    link = world.client.page("vm").body["nextLink"]
    world.turn(expired_page_rate=1.0)
    assert world.client.follow(link).status == 410
    world.turn(expired_page_rate=0.0, repeated_page_rate=1.0)
    assert [row["name"] for row in world.client.follow(link).body["value"]][:4] == ["vm-0", "vm-1", "vm-2", "vm-3"]
    world.turn(repeated_page_rate=0.0, circular_page_rate=1.0)
    again = world.client.follow(link).body
    assert [row["name"] for row in world.client.follow(again["nextLink"]).body["value"]] == ["vm-3", "vm-4", "vm-5"]
    assert world.client.follow("https://localhost" + world.account.site.base("compute-group")).status == 404


def test_usages_and_sizes_are_told() -> None:
    """What a driver needs not to send a create that must fail."""
    world = World()
    world.client.create(NAME)
    base = f"/subscriptions/{world.account.site.subscription}/providers/Microsoft.Compute"
    usages = world.client.send("GET", f"{base}/locations/eastus/usages").body["value"]
    used = {row["name"]["value"]: row["currentValue"] for row in usages}
    assert (used["cores"], used["standardDSv5Family"], used["lowPriorityCores"]) == (2, 2, 0)
    page = world.client.send("GET", f"{base}/skus", api_version="2021-07-01").body
    rows = page["value"]
    while "nextLink" in page:
        page = world.client.follow(page["nextLink"]).body
        rows += page["value"]
    families = {row["name"]: row["family"] for row in rows if row["resourceType"] == "virtualMachines"}
    assert len(families) == len(world.account.site.sizes)
    assert families["Standard_D2s_v5"] == "standardDSv5Family"


# ------------------------------------------------------------------------------------------------------ the way to and fro


def lost(answer: Answer) -> bool:
    return answer.cut or (answer.status == 502 and answer.body.startswith(b"<html>"))


@pytest.mark.parametrize("mishap", [Mishap.DROPPED_AFTER, Mishap.HTML_AFTER])
def test_an_answer_may_be_lost_after_the_act(mishap: Mishap) -> None:
    """The machine exists, and the caller cannot know."""
    world = World()
    world.account.mishaps.plant("create vm", mishap)
    assert lost(world.client.create(NAME))
    assert [machine.name for machine in world.account.machines()] == [NAME]


@pytest.mark.parametrize("mishap", [Mishap.DROPPED_BEFORE, Mishap.BAD_GATEWAY, Mishap.BUSY, Mishap.INTERNAL, Mishap.THROTTLED])
def test_a_call_may_fail_without_effect(mishap: Mishap) -> None:
    """Nothing was made, whatever the caller sees; the next call passes."""
    world = World()
    world.account.mishaps.plant("create vm", mishap)
    answer = world.client.create(NAME)
    assert lost(answer) or answer.status in (429, 500, 503)
    assert world.account.left() == []
    assert world.client.create(NAME).status == 201


def test_tokens_end() -> None:
    """Too old, taken back, or none at all: 401 with the challenge of the service."""
    world = World(token_life_s=100.0)
    assert world.client.page("vm").status == 200
    world.later(101.0)
    expired = world.client.page("vm")
    assert (expired.status, code_of(expired)) == (401, "ExpiredAuthenticationToken")
    assert "invalid_token" in expired.headers["WWW-Authenticate"]
    world.client.log_in()
    assert world.client.page("vm").status == 200
    world.account.login.revoke()
    assert code_of(world.client.page("vm")) == "InvalidAuthenticationToken"


def test_a_login_may_lack_a_right() -> None:
    """403, for one operation alone."""
    world = World()
    world.account.forbidden.add("create vm")
    assert code_of(world.client.create(NAME)) == "AuthorizationFailed"
    assert world.client.page("vm").status == 200


def test_another_group_or_subscription_is_unknown() -> None:
    """404 with the code that says which."""
    world = World()
    site = world.account.site
    assert code_of(world.client.send("GET", f"{site.base('other')}/Microsoft.Compute/virtualMachines")) == "ResourceGroupNotFound"
    assert code_of(world.client.send("GET", "/subscriptions/other/resourceGroups/x")) == "SubscriptionNotFound"


def test_what_the_judge_finds_is_refused_and_kept() -> None:
    """400 for the caller, and a violation for the test."""
    world = World()
    answer = world.client.create(NAME, changed(machine_body(NAME), "propertiez", {}))
    assert (answer.status, code_of(answer)) == (400, "InvalidRequestContent")
    assert [violation.operation for violation in world.account.judge.violations] == ["create vm"]
    assert world.account.left() == []


def test_the_buckets_stand_before_everything() -> None:
    """The thirteenth delete of one machine is refused, and an answer that passes says what remains."""
    world = World()
    answers = [world.client.delete("vm", NAME) for _ in range(13)]
    assert [answer.status for answer in answers] == [204] * 12 + [429]
    assert answers[0].headers["x-ms-ratelimit-remaining-subscription-deletes"] == "199"
    assert answers[12].headers["Retry-After"] == "15"


def test_an_evicted_machine_is_gone_at_once() -> None:
    """Azure takes it back; what belongs to it goes as its deleteOption says."""
    world = World()
    world.client.create(NAME, spot_body(NAME))
    path = f"Microsoft.Compute/virtualMachines/{NAME}/simulateEviction"
    assert world.client.send("POST", path).status == 204
    assert world.client.state(NAME) == "gone"
    world.later(2.0)
    assert world.account.left() == []


def test_the_same_seed_tells_the_same_story() -> None:
    """Every chance is drawn from one seed."""

    def story() -> list[tuple[int, bool]]:
        world = World()
        world.account.knobs = Knobs()
        answers = [world.client.create(f"vm-{number}") for number in range(60)]
        return [(answer.status, answer.cut) for answer in answers]

    assert story() == story()
    assert len(set(story())) > 3
