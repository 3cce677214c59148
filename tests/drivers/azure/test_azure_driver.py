"""The driver on the real SDK's pipeline, over a transport of our own: the requests it makes, and what it makes of the answers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure_world import (
    ARM,
    GIVEN,
    GROUP,
    HOST_KEY,
    NAME,
    NOBODY,
    RSA,
    SPOT,
    TAGS,
    TYPE,
    VM_ID,
    Reply,
    Sent,
    call,
    card,
    driver_on,
    refused,
    request,
    settings,
    vm,
)

pytest.importorskip("azure.mgmt.compute", reason="the Azure SDK is not installed (the extra azure)")

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError

from dispatcher.driver import CloudError, Denied, Leftover, Misconfigured, NoCapacity, Presence, RateLimited
from drivers.azure import open as open_azure
from drivers.azure.credentials import OneAtATime
from drivers.azure.leftovers import CARD, DISK

ROOT = Path(__file__).parents[3]
OPERATION = f"{ARM}/subscriptions/s/providers/Microsoft.Compute/locations/eastus/operations/1?api-version=2025-04-01"
ACCEPTED = Reply(201, {"id": VM_ID, "name": NAME}, {"Azure-AsyncOperation": OPERATION, "Retry-After": "10"})


def azure(**replies: Reply | Callable[[Sent], Reply]) -> Callable[[Sent], Reply]:
    """Answers by method and last word of the path: ``get_vms``, ``get_cards``, ``get_disks``, ``get_vm``, ``put_vm``, …"""

    def answer(sent: Sent) -> Reply:
        reply = replies.get(
            f"{sent.method.lower()}_{_kind(sent.path)}", _DEFAULTS.get(_kind(sent.path), Reply(404, "nothing here"))
        )
        return reply(sent) if callable(reply) else reply

    return answer


def _kind(path: str) -> str:
    words = path.split("/")
    if words[-1] == "usages":
        return "usages"
    lists = {"virtualMachines": "vms", "networkInterfaces": "cards", "disks": "disks", "publicIPAddresses": "addresses"}
    if words[-1] in lists:
        return lists[words[-1]]
    return "view" if words[-1] == "instanceView" else {"operations": "operation"}.get(words[-2], lists.get(words[-2], "?")[:-1])


_DEFAULTS = {kind: Reply(200, {"value": []}) for kind in ("vms", "cards", "disks", "addresses")}


# ----------------------------------------------------------------------------------------------------------------- create


def test_a_create_is_one_request_that_ends_when_azure_accepts() -> None:
    """The address of the operation goes back as a handle, the wished pace with the call, and no thread is left."""
    driver, sent = driver_on(azure(put_vm=ACCEPTED))
    given = call()
    before = set(threading.enumerate())
    created = driver.create(request(), given)
    assert set(threading.enumerate()) <= before
    assert repr(sent) == f"[PUT {GROUP}/providers/Microsoft.Compute/virtualMachines/{NAME}]"
    assert (created.id, given.poll_after_s, given.retry_after_s) == (VM_ID, 10.0, None)
    assert created.operation is not None
    assert created.operation.startswith(OPERATION)
    assert sent[0].headers["If-None-Match"] == "*"
    assert "api-version=2025-04-01" in sent[0].url


def test_tags_tell_the_next_dispatcher_what_it_has_to_know() -> None:
    """Login user, host key and time; the card knows whose it is and holds no secret."""
    driver, sent = driver_on(azure(put_vm=ACCEPTED))
    driver.create(request(), call())
    tags = sent[0].body["tags"]
    own = {"ArvadosLoginUser": "root", "ArvadosHostKey": HOST_KEY.public, "created-at": "2026-01-02T03:04:05Z"}
    assert tags == {**TAGS, **own}
    card_tags = sent[0].body["properties"]["networkProfile"]["networkInterfaceConfigurations"][0]["tags"]
    assert set(card_tags) == {"ArvadosInstanceSetID", "ArvadosInstanceType", "ArvadosLoginUser", "created-at"}


@pytest.mark.parametrize(
    ("given", "user", "key"), [({}, "cloudadmin", NOBODY), ({"AdminUsername": "crunch"}, "crunch", RSA.strip())]
)
def test_the_account_that_azure_demands_gets_a_key_only_when_the_site_named_it(
    given: dict[str, str], user: str, key: str
) -> None:
    """Else the dispatcher logs in as root, by the script, and that account opens to nobody."""
    driver, sent = driver_on(azure(put_vm=ACCEPTED), **given)
    driver.create(request(), call())
    profile = sent[0].body["properties"]["osProfile"]
    assert profile["adminUsername"] == user
    assert profile["linuxConfiguration"]["ssh"]["publicKeys"][0]["keyData"] == key


def test_the_same_name_again_is_the_same_instance() -> None:
    """The first answer was lost; what exists is looked at, and must be ours."""
    driver, sent = driver_on(azure(put_vm=refused(412, "PreconditionFailed"), get_vm=Reply(200, vm())))
    assert driver.create(request(), call()).id == VM_ID
    assert [one.method for one in sent] == ["PUT", "GET"]
    driver, _ = driver_on(azure(put_vm=refused(412, "PreconditionFailed"), get_vm=Reply(200, vm(tags={}))))
    with pytest.raises(CloudError, match="not ours"):
        driver.create(request(), call())


def test_a_full_zone_is_followed_by_the_next() -> None:
    """Within the same call: nothing was made in the one that refused. The last refusal is the answer."""
    full = {"1", "2"}

    def answer(sent: Sent) -> Reply:
        return refused(409, "ZonalAllocationFailed") if sent.body["zones"][0] in full else ACCEPTED

    driver, sent = driver_on(azure(put_vm=answer), Zones=["1", "2", "3"])
    driver.create(request(), call())
    assert sent[-1].body["zones"] == ["3"]
    full.add("3")
    with pytest.raises(NoCapacity):
        driver.create(request(), call())
    assert sorted(one.body["zones"][0] for one in sent[-3:]) == ["1", "2", "3"]


UNSURE: list[tuple[Exception | Reply, bool]] = [
    (ServiceResponseError("cut"), True),
    (ServiceRequestError("who knows"), True),
    (Reply(502, "<html>bad</html>"), True),
    (Reply(500, None), True),
    (refused(409, "AllocationFailed"), False),
    (refused(429, "TooManyRequests"), False),
]


@pytest.mark.parametrize(("answer", "unknown"), UNSURE)
def test_a_create_that_may_have_happened_says_so(answer: Exception | Reply, unknown: bool) -> None:
    """The core finds out before it acts."""
    reply = answer if isinstance(answer, Reply) else Reply(error=answer)
    driver, sent = driver_on(azure(put_vm=reply))
    with pytest.raises(CloudError) as found:
        driver.create(request(), call())
    assert found.value.outcome_unknown is unknown
    assert len(sent) == 1  # nothing inside the SDK tries again


def test_a_refusal_reports_its_numbers_and_its_pause() -> None:
    """Limit and usage of the quota; the pause also of an answer that is no 429."""
    text = "exceeding approved standardDSv5Family Cores quota. Current Limit: 100, Current Usage: 96, Additional Required: 8"
    driver, _ = driver_on(azure(put_vm=refused(409, "OperationNotAllowed", text, Retry_After="30")))
    given = call()
    with pytest.raises(CloudError):
        driver.create(request(), given)
    assert (given.limit, given.usage, given.retry_after_s) == (100.0, 96.0, 30.0)


@pytest.mark.parametrize(("status", "code", "pause_s"), [(409, "AnotherOperationInProgress", None), (503, "ServerBusy", 30.0),
                                                         (429, "TooManyRequests", 30.0)])  # fmt: skip
def test_the_pause_of_one_machine_is_no_pause_of_all(status: int, code: str, pause_s: float | None) -> None:
    """A conflict is about one machine, whatever its answer wishes; an overloaded service is about all."""
    driver, _ = driver_on(azure(put_vm=refused(status, code, Retry_After="30")))
    given = call()
    with pytest.raises(CloudError):
        driver.create(request(), given)
    assert given.retry_after_s == pause_s


def test_a_rate_limit_is_raised_at_once() -> None:
    """The SDK would sleep for as long as it is told, without an upper bound."""
    driver, sent = driver_on(azure(put_vm=refused(429, "TooManyRequests", Retry_After="1200")))
    with pytest.raises(RateLimited) as found:
        driver.create(request(), call())
    assert (found.value.retry_after_s, len(sent)) == (1200.0, 1)


def test_nothing_registers_providers_behind_our_back() -> None:
    """The SDK's own policy would, and then sleeps until it is done."""
    driver, sent = driver_on(azure(put_vm=refused(409, "MissingSubscriptionRegistration")))
    with pytest.raises(Denied):
        driver.create(request(), call())
    assert len(sent) == 1


# ------------------------------------------------------------------------------------------------------------ poll_create


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(200, {"status": "Succeeded"}), True),
        (Reply(200, {"status": "InProgress"}, {"Retry-After": "7"}), False),
        (Reply(200, {"status": "Whatever"}), False),
        (refused(404, "OperationNotFound"), True),
        (Reply(200, {"status": "Failed", "error": {"code": "OSProvisioningTimedOut"}}), True),
        (Reply(200, {"status": "Failed"}), True),
        (Reply(200, {"status": "Failed", "error": {"code": "AllocationFailed", "message": "no room"}}), NoCapacity),
        (Reply(200, {"status": "Failed", "error": {"code": "X", "details": [{"code": "AllocationFailed"}]}}), NoCapacity),
    ],
)
def test_an_accepted_create_is_followed_by_its_operation(reply: Reply, outcome: Any) -> None:
    """Done, at work, or failed for good; never by asking for the machine itself."""
    driver, sent = driver_on(azure(get_operation=reply))
    given = call()
    found = driver.poll_create(f"{OPERATION}#size=Standard_D2s_v5&zone=", given)
    assert found is outcome if isinstance(outcome, bool) else isinstance(found, outcome)
    assert sent[0].url == OPERATION
    assert (given.poll_after_s, given.retry_after_s) == (7.0 if reply.headers else None, None)


def test_no_token_goes_to_another_host() -> None:
    """Whatever an answer, or a handle of it, points to."""
    driver, sent = driver_on(azure())
    with pytest.raises(CloudError, match="another host"):
        driver.poll_create("https://elsewhere.example/operations/1", call())
    page = Reply(200, {"value": [vm()], "nextLink": "https://elsewhere.example/next"})
    driver, sent = driver_on(azure(get_vms=page, get_cards=Reply(200, {"value": [card()]})))
    assert not driver.list(call()).complete
    assert all(one.url.startswith(ARM) for one in sent)


# ------------------------------------------------------------------------------------------------------------------- list


def test_a_list_is_two_chains_of_pages() -> None:
    """Machines and cards; what is not ours is not shown."""
    first = Reply(200, {"value": [vm()], "nextLink": f"{ARM}{GROUP}/providers/Microsoft.Compute/virtualMachines?page=2"})
    second = Reply(200, {"value": [vm("other", tags={"ArvadosInstanceSetID": "other"}), vm()]})
    driver, sent = driver_on(
        azure(get_vms=lambda one: second if "page=2" in one.url else first, get_cards=Reply(200, {"value": [card()]}))
    )
    given = call()
    given.leftovers = given.usages = False
    listing = driver.list(given)
    assert listing.complete
    assert [(one.id, one.address) for one in listing.instances] == [(VM_ID, "10.0.0.4")]
    assert len(sent) == 3


def test_a_page_that_fails_makes_the_list_incomplete() -> None:
    """What came before it is shown, nothing is missing for it, and no leftover is named."""

    def pages(one: Sent) -> Reply:
        if "page=2" in one.url:
            return Reply(410, "gone")
        return Reply(200, {"value": [vm()], "nextLink": f"{ARM}{GROUP}/providers/Microsoft.Compute/virtualMachines?page=2"})

    driver, _ = driver_on(azure(get_vms=pages, get_cards=Reply(200, {"value": [card(), card("x", free=True)]})))
    listing = driver.list(call())
    assert (len(listing.instances), listing.complete, listing.leftovers) == (1, False, ())


def test_pages_that_lead_back_have_an_end() -> None:
    """And the list is not complete."""
    link = f"{ARM}{GROUP}/providers/Microsoft.Compute/virtualMachines?page=2"
    driver, sent = driver_on(
        azure(get_vms=Reply(200, {"value": [vm()], "nextLink": link}), get_cards=Reply(200, {"value": [card()]}))
    )
    assert not driver.list(call()).complete
    assert len([one for one in sent if one.path.endswith("virtualMachines")]) == 2


def test_a_first_page_that_fails_is_an_error() -> None:
    """An empty list would say that everything is gone."""
    for name in ("get_vms", "get_cards"):
        driver, _ = driver_on(azure(**{name: Reply(503, None)}))
        with pytest.raises(CloudError):
            driver.list(call())
    driver, _ = driver_on(azure(get_vms=refused(404, "ResourceGroupNotFound")))
    with pytest.raises(Misconfigured):
        driver.list(call())
    driver, _ = driver_on(azure(get_vms=Reply(200, {"value": None})))
    with pytest.raises(CloudError):
        driver.list(call())


def test_an_instance_whose_card_is_on_a_lost_page_is_left_out() -> None:
    """Shown without its address it would look as if it had lost it."""
    link = f"{ARM}{GROUP}/providers/Microsoft.Network/networkInterfaces?page=2"
    cards = lambda one: Reply(500) if "page=2" in one.url else Reply(200, {"value": [card()], "nextLink": link})  # noqa: E731
    driver, _ = driver_on(azure(get_vms=Reply(200, {"value": [vm(), vm("b")]}), get_cards=cards))
    listing = driver.list(call())
    assert ([one.name for one in listing.instances], listing.complete) == ([NAME], False)


def test_a_failed_machine_is_looked_at_for_the_reason() -> None:
    """Want of room is final; a reason that cannot be had is not guessed."""
    view = {"statuses": [{"code": "ProvisioningState/failed/AllocationFailed", "message": "no room"}]}
    driver, _ = driver_on(azure(get_vms=Reply(200, {"value": [vm(state="Failed")]}), get_view=Reply(200, view)))
    (shown,) = driver.list(call()).instances
    assert shown.state is Presence.FAILED
    assert isinstance(shown.failure, NoCapacity)
    driver, _ = driver_on(azure(get_vms=Reply(200, {"value": [vm(state="Failed")]}), get_view=Reply(429, None)))
    (shown,) = driver.list(call()).instances
    assert shown.state is Presence.PRESENT


def test_leftovers_are_listed_when_somebody_asks() -> None:
    """They cost more requests. A list of disks that fails hides its disks and nothing else."""
    free = {
        "id": f"{GROUP}/providers/Microsoft.Compute/disks/{NAME}-os",
        "name": f"{NAME}-os",
        "properties": {"diskState": "Unattached"},
    }
    cards = Reply(200, {"value": [card(free=True)]})
    driver, sent = driver_on(azure(get_cards=cards, get_disks=Reply(200, {"value": [free]})))
    assert [one.kind for one in driver.list(call()).leftovers] == [CARD, DISK]
    driver, sent = driver_on(azure(get_cards=cards, get_disks=Reply(500)))
    assert [one.kind for one in driver.list(call()).leftovers] == [CARD]
    given = call()
    given.leftovers = given.usages = False
    sent.clear()
    assert driver.list(given).leftovers == ()
    assert len(sent) == 2


# ------------------------------------------------------------------------------------------------------- destroy and tags


def test_destroy_looks_first_and_deletes_once() -> None:
    """One request deletes the machine with all that belongs to it."""
    driver, sent = driver_on(azure(get_vm=Reply(200, vm()), delete_vm=Reply(202, None)))
    driver.destroy(VM_ID, call())
    assert [one.method for one in sent] == ["GET", "DELETE"]
    assert "forceDeletion=true" in sent[1].url


def test_what_is_used_of_a_quota_is_listed_when_somebody_asks() -> None:
    """Families under the names of their groups, spot by itself, the region as all; a list of usages that fails is none."""
    rows = [("cores", 90, 100), ("lowPriorityCores", 3, 10), ("standardDSv5Family", 8, 20), ("Standard DASv5 Family", 1, 2),
            ("virtualMachines", 4, 25000), ("standardXFamily", None, 3)]  # fmt: skip
    found = [{"name": {"value": name}, "currentValue": used, "limit": limit, "unit": "Count"} for name, used, limit in rows]
    driver, _ = driver_on(azure(get_usages=Reply(200, {"value": found})), Location="eastus")
    usages = {usage.group: (usage.used, usage.limit) for usage in driver.list(call()).usages}
    assert usages == {"": (90, 100), "spot": (3, 10), "standarddsv5family": (8, 20), "standarddasv5family": (1, 2)}
    assert driver.quota_group(TYPE) in usages
    given = call()
    given.usages = False
    assert driver.list(given).usages == ()
    assert driver_on(azure(get_usages=Reply(500)))[0].list(call()).usages == ()
    assert driver_on(azure(get_usages=Reply(200, {"value": found})), QuotaUsage=False)[0].list(call()).usages == ()


@pytest.mark.parametrize("reply", [refused(404, "ResourceNotFound"), Reply(200, vm(state="Deleting"))])
def test_what_is_gone_or_going_is_not_deleted_again(reply: Reply) -> None:
    """Azure lets a machine be deleted four times a minute."""
    driver, sent = driver_on(azure(get_vm=reply))
    driver.destroy(VM_ID, call())
    assert [one.method for one in sent] == ["GET"]


@pytest.mark.parametrize("reply", [Reply(404, "<html>proxy</html>"), refused(404, "ResourceGroupNotFound"), Reply(404, None)])
def test_not_every_404_says_that_a_machine_is_gone(reply: Reply) -> None:
    """Some machine on the way may have said it."""
    driver, _ = driver_on(azure(get_vm=reply))
    with pytest.raises(CloudError):
        driver.destroy(VM_ID, call())


def test_what_is_not_ours_is_never_touched() -> None:
    """Neither by its tag, nor by its place."""
    driver, sent = driver_on(azure(get_vm=Reply(200, vm(tags={"ArvadosInstanceSetID": "other"}))))
    for act in (lambda: driver.destroy(VM_ID, call()), lambda: driver.set_tags(VM_ID, TAGS, call())):
        with pytest.raises(CloudError, match="not ours"):
            act()
    for instance_id in ("", NAME, VM_ID.replace("compute/", "other/"), f"{VM_ID}/x", f"{VM_ID}?x=y", VM_ID.replace(NAME, "..")):
        with pytest.raises(CloudError):
            driver.destroy(instance_id, call())
    assert {one.method for one in sent} == {"GET"}


def test_tags_are_replaced_but_for_the_drivers_own() -> None:
    """With the state that was read as a condition: who changed it meanwhile is not overrun."""
    own = {"ArvadosLoginUser": "root", "ArvadosHostKey": "ssh-ed25519 AAAA", "created-at": "2026"}
    machine = vm(tags={**TAGS, **own, "old": "x"}, etag='"7"')
    driver, sent = driver_on(azure(get_vm=Reply(200, machine), patch_vm=Reply(200, machine)))
    driver.set_tags(VM_ID, {**TAGS, "ArvadosIdleBehavior": "hold"}, call())
    assert (sent[1].method, sent[1].headers["If-Match"]) == ("PATCH", '"7"')
    assert sent[1].body == {"tags": {**TAGS, "ArvadosIdleBehavior": "hold", **own}}


def test_tags_of_what_is_gone_are_an_error() -> None:
    """There is nothing to write them on."""
    driver, _ = driver_on(azure(get_vm=refused(404, "ResourceNotFound")))
    with pytest.raises(CloudError):
        driver.set_tags(VM_ID, TAGS, call())


# -------------------------------------------------------------------------------------------------------------- leftovers


def test_a_leftover_is_looked_at_once_more_before_it_goes() -> None:
    """In use again it stays; gone already is success; it is deleted by its own kind's version."""
    left = Leftover(card(free=True)["id"], CARD)
    driver, sent = driver_on(azure(get_card=Reply(200, card(free=True)), delete_card=Reply(202, None)))
    driver.delete_leftover(left, call())
    assert [one.method for one in sent] == ["GET", "DELETE"]
    driver, sent = driver_on(azure(get_card=Reply(200, card())))
    with pytest.raises(CloudError, match="in use"):
        driver.delete_leftover(left, call())
    assert [one.method for one in sent] == ["GET"]
    driver, sent = driver_on(azure(get_card=refused(404, "ResourceNotFound")))
    driver.delete_leftover(left, call())


@pytest.mark.parametrize("leftover_id", ["", "x", VM_ID, card()["id"].replace("/compute/", "/other/"), card()["id"] + "/../../x"])
def test_only_a_leftover_of_our_group_is_deleted(leftover_id: str) -> None:
    """And only of its own kind."""
    driver, sent = driver_on(azure())
    with pytest.raises(CloudError):
        driver.delete_leftover(Leftover(leftover_id, CARD), call())
    assert sent == []


# ---------------------------------------------------------------------------------------------------------- time and tokens


def test_a_call_has_one_time_for_all_its_requests() -> None:
    """Each request gets what is left of it, and none is sent when nothing is."""
    from azure_transport import FakeCredential, FakeTransport
    from azure_world import parameters

    from drivers.azure.arm import Arm
    from drivers.azure.driver import AzureDriver

    now = [0.0]

    def slowly(sent: Sent) -> Reply:
        now[0] += 8.0
        return Reply(200, {"value": []})

    transport = FakeTransport(slowly)
    arm = Arm(parameters(), FakeCredential, stopwatch=lambda: now[0], transport=transport)
    driver = AzureDriver(settings(), parameters(), arm, host_key=lambda: HOST_KEY, nobodys_key=lambda: NOBODY)
    driver.list(call(timeout_s=20.0))
    assert transport.timeouts == [(10.0, 20.0), (10.0, 12.0), (4.0, 4.0)]
    with pytest.raises(CloudError, match="not done within"):
        driver.list(call(timeout_s=8.0))


class Refusing:
    """A credential that fails, slowly enough for others to come and wait."""

    def __init__(self) -> None:
        self.asked = 0
        self.entered, self.go_on = threading.Event(), threading.Event()

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.asked += 1
        self.entered.set()
        self.go_on.wait(10)
        raise ClientAuthenticationError("AADSTS7000215: Invalid client secret provided")


def test_those_who_wait_for_a_token_share_its_failure() -> None:
    """Twenty threads with a wrong secret ask once, and all are told."""
    refusing = Refusing()
    credential = OneAtATime(lambda: refusing)
    failures: list[str] = []

    def ask() -> None:
        try:
            credential.get_token("scope")
        except ClientAuthenticationError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    threads[0].start()
    refusing.entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    while credential.waiting < 19:
        assert any(thread.is_alive() for thread in threads)
    refusing.go_on.set()
    for thread in threads:
        thread.join()
    assert (refusing.asked, len(failures)) == (1, 20)
    assert all("AADSTS7000215" in text for text in failures)


class Silent:
    """A directory that does not answer, as the library tells it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        raise self.error from ServiceResponseError("cut")


@pytest.mark.parametrize("error", [ServiceResponseError("cut"), ClientAuthenticationError("Authentication failed: cut")])
def test_a_directory_that_does_not_answer_is_no_refusal_and_nothing_was_sent(error: Exception) -> None:
    """Nobody said no, and no create can have taken effect."""
    from azure_transport import FakeTransport
    from azure_world import parameters

    from drivers.azure.arm import Arm
    from drivers.azure.driver import AzureDriver

    transport = FakeTransport(azure())
    arm = Arm(parameters(), lambda: Silent(error), stopwatch=lambda: 0.0, transport=transport)
    driver = AzureDriver(settings(), parameters(), arm, host_key=lambda: HOST_KEY, nobodys_key=lambda: NOBODY)
    with pytest.raises(CloudError) as found:
        driver.create(request(), call())
    assert (type(found.value), found.value.outcome_unknown, transport.sent) == (CloudError, False, [])


def test_a_wrong_secret_is_denied_and_nothing_was_sent() -> None:
    """The request itself never left, so its outcome is known."""
    from azure_transport import FakeTransport
    from azure_world import parameters

    from drivers.azure.arm import Arm
    from drivers.azure.driver import AzureDriver

    refusing = Refusing()
    refusing.go_on.set()
    transport = FakeTransport(azure())
    arm = Arm(parameters(), lambda: refusing, stopwatch=lambda: 0.0, transport=transport)
    driver = AzureDriver(settings(), parameters(), arm, host_key=lambda: HOST_KEY, nobodys_key=lambda: NOBODY)
    with pytest.raises(Denied) as found:
        driver.create(request(), call())
    assert not found.value.outcome_unknown
    assert transport.sent == []


# ---------------------------------------------------------------------------------------------------------------- opening


def test_quota_groups_are_families_and_spot() -> None:
    """Spot machines of all sizes share one quota; a site may name groups of its own."""
    driver, _ = driver_on(azure(), InstanceTypeQuotaGroups={"Standard_D": "dees", "Standard_D2s": "twos"})
    assert driver.quota_group(TYPE) == "twos"
    assert driver.quota_group(SPOT) == "spot"
    assert driver_on(azure())[0].quota_group(TYPE) == "standarddsv5family"


def test_machines_are_asked_for_news_of_their_end_unless_the_site_says_no() -> None:
    """By a command on the machine itself."""
    driver, _ = driver_on(azure())
    assert driver.capabilities.notices
    assert "scheduledevents" in driver.notice_command
    said = '{"Events": [{"EventType": "Preempt", "Resources": ["x"]}]}'
    assert (driver.parse_notice(said, "x") != "", driver.parse_notice(said, "y")) == (True, "")
    assert not driver_on(azure(), EvictionNotices=False)[0].capabilities.notices


def test_opening_makes_no_call_and_names_mistakes() -> None:
    """A driver is opened to check a configuration."""
    open_azure(settings()).close()
    with pytest.raises(Misconfigured) as found:
        open_azure(settings({**GIVEN, "Subnet": ""}))
    assert found.value.path == "Subnet"


METHODS = [
    {"AuthMethod": "ManagedIdentity"},
    {"AuthMethod": "AzureCLI"},
    {"AuthMethod": "WorkloadIdentity", "FederatedTokenFile": "/etc/hostname"},
    {"CloudEnvironment": "AzureChinaCloud", "ARMEndpoint": ""},
]


@pytest.mark.parametrize("method", METHODS, ids=[next(iter(method.values())) for method in METHODS])
def test_every_way_of_logging_in_can_be_opened(method: dict[str, str]) -> None:
    """With the real library of Microsoft's, which checks what it is given."""
    open_azure(settings({**GIVEN, **method})).close()


WITHOUT = """
import sys
class Closed:
    def find_spec(self, name, path=None, target=None):
        if name == "azure" or name.startswith("azure."):
            raise ImportError(f"{name} is closed")
sys.meta_path.insert(0, Closed())
import dispatcher.cli.run, dispatcher.edge.cloud, dispatcher.runtime.daemon, drivers.azure
import logging
from dispatcher.driver import DriverSettings, Misconfigured
assert not [name for name in sys.modules if name == "azure" or name.startswith(("azure.", "msal"))]
settings = DriverSettings(parameters=%r, instance_set_id="s", tag_prefix="A", log=logging.getLogger())
try:
    drivers.azure.open(settings)
except Misconfigured as error:
    print(error)
"""


def test_nothing_of_azure_is_loaded_before_it_is_asked_for() -> None:
    """Nor is it needed: without the SDK the dispatcher starts, and who configures Azure is told what to install."""
    done = subprocess.run([sys.executable, "-c", WITHOUT % (GIVEN,)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "pip install" in done.stdout
