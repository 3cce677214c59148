"""The driver behind error translation: whatever foreign code does, the core gets values or CloudCallFailed."""

from __future__ import annotations

import logging
import random
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from dispatcher.core.messages import CloudCallFailed, CloudFailure
from dispatcher.core.model import HoldoffKind
from dispatcher.driver import (
    Call,
    Capabilities,
    CloudError,
    Created,
    CreateRequest,
    Denied,
    DriverSettings,
    HostKey,
    Instance,
    InstanceType,
    Leftover,
    Listing,
    Misconfigured,
    NoCapacity,
    Notice,
    Presence,
    QuotaReached,
    RateLimited,
    RateLimits,
    Scope,
)
from dispatcher.edge.cloud import Cloud, failure_of, open_driver
from dispatcher.edge.cloud_answers import checked_capabilities, is_address
from dispatcher.edge.cloud_discovery import UnusableDriver, find_entries, problem_of
from dispatcher.edge.notices import Announced
from drivers.stub import StubCloud, StubKnobs

WALL_S = 1_000_000.0
TYPE = InstanceType(name="small", provider_type="m1", vcpus=1, ram_bytes=1)
OURS = {"ArvadosInstanceSetID": "set"}


class Puppet:
    """A driver that answers or raises what it was given, and whatever else a careless author makes of one."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.capabilities = answers.get("capabilities")

    def _play(self, name: str) -> Any:
        answer = self._answers.get(name)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def create(self, request: CreateRequest, call: Call) -> Any:
        return self._play("create")

    def list(self, call: Call) -> Any:
        call.calls_remaining = self._answers.get("calls_remaining", 7)
        return self._play("list")

    def destroy(self, instance_id: str, call: Call) -> Any:
        return self._play("destroy")

    def set_tags(self, instance_id: str, tags: object, call: Call) -> Any:
        return self._play("set_tags")

    def poll_create(self, operation: str, call: Call) -> Any:
        return self._play("poll_create")

    def host_keys(self, instance_id: str) -> Any:
        return self._play("host_keys")

    def quota_group(self, instance_type: InstanceType) -> Any:
        return self._play("quota_group")


def settings(parameters: dict | None = None) -> DriverSettings:
    log = logging.getLogger("test.driver")
    return DriverSettings(parameters=parameters or {}, instance_set_id="set", tag_prefix="Arvados", log=log)


def cloud(**answers: Any) -> Cloud:
    return Cloud(Puppet(**answers), settings(), wall=lambda: WALL_S)


def call() -> Call:
    return Call(timeout_s=5.0)


def request() -> CreateRequest:
    return CreateRequest(name="vm-1", instance_type=TYPE, image_id="", tags=OURS, init_script="#!/bin/sh\n", public_key=None)


def vm(instance_id: Any = "i-1", **changes: Any) -> Instance:
    return Instance(**{"id": instance_id, "name": "vm-1", "provider_type": "m1", "tags": OURS, **changes})


def failure(act: Any) -> CloudFailure:
    with pytest.raises(CloudCallFailed) as caught:
        act()
    return caught.value.failure


# ------------------------------------------------------------------------------------------------------------------ errors

TRANSLATIONS = [
    (RateLimited("slow", retry_after_s=3.0), HoldoffKind.RATE, Scope.EVERYTHING, 3.0, False),
    (RateLimited("slow", retry_at=WALL_S + 9), HoldoffKind.RATE, Scope.EVERYTHING, 9.0, False),
    (RateLimited("slow", retry_at=WALL_S - 9), HoldoffKind.RATE, Scope.EVERYTHING, 0.0, False),
    (RateLimited("slow", retry_after_s=float("nan")), HoldoffKind.RATE, Scope.EVERYTHING, None, False),
    (RateLimited("slow"), HoldoffKind.RATE, Scope.EVERYTHING, None, False),
    (QuotaReached("full", scope="group"), HoldoffKind.QUOTA, Scope.GROUP, None, False),
    (NoCapacity("none", scope=Scope.TYPE), HoldoffKind.CAPACITY, Scope.TYPE, None, False),
    (Denied("expired", scope="everything"), HoldoffKind.DENIED, Scope.EVERYTHING, None, False),
    (Misconfigured("Subnet", "unknown"), HoldoffKind.ERROR, Scope.EVERYTHING, None, False),
    (CloudError("reset", outcome_unknown=True), HoldoffKind.ERROR, Scope.REQUEST, None, True),
]


@pytest.mark.parametrize(("error", "kind", "scope", "retry_after_s", "unknown"), TRANSLATIONS)
def test_an_error_of_the_contract_becomes_data(
    error: CloudError, kind: HoldoffKind, scope: Scope, retry_after_s: float | None, unknown: bool
) -> None:
    """Kind, reach, pause and certainty survive the translation."""
    data = failure(lambda: cloud(create=error).create(request(), call()))
    assert (data.kind, data.scope, data.retry_after_s, data.outcome_unknown) == (kind, scope, retry_after_s, unknown)
    assert data.text == str(error)


@pytest.mark.parametrize(("name", "unknown"), [("create", True), ("destroy", True), ("set_tags", True), ("list", False)])
def test_a_bug_of_the_driver_is_logged_and_its_outcome_is_unknown(
    name: str, unknown: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Any other exception may have come after the request was sent."""
    port = cloud(**{name: KeyError("properties")})
    acts = {
        "create": lambda: port.create(request(), call()),
        "destroy": lambda: port.destroy("i-1", call()),
        "set_tags": lambda: port.set_tags("i-1", OURS, call()),
        "list": lambda: port.list(call()),
    }
    data = failure(acts[name])
    assert data.outcome_unknown is unknown
    assert "KeyError" in data.text
    assert "Traceback" in caplog.text


def test_a_text_is_one_bounded_line() -> None:
    """Pages and logs get no control characters and no novel."""
    text = failure_of(CloudError("a\nb\x1b[31m" + "x" * 5000), lambda: WALL_S).text
    assert text.startswith("a b [31m")
    assert len(text) == 1001


def test_an_error_without_words_still_says_something() -> None:
    """Its type is better than nothing."""
    assert failure_of(NoCapacity(), lambda: WALL_S).text == "NoCapacity"


# ----------------------------------------------------------------------------------------------------------------- answers

BAD_CREATES = [None, "i-1", vm(), Created(""), Created(7), Created("i-1", operation=7)]  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", BAD_CREATES)
def test_a_create_that_answers_badly_has_an_unknown_outcome(answer: object) -> None:
    """Something may exist now, and nobody knows its id."""
    data = failure(lambda: cloud(create=answer).create(request(), call()))
    assert data.outcome_unknown
    assert "bad answer of the driver" in data.text


@pytest.mark.parametrize("answer", [None, [vm()], Listing((vm(),), complete="yes"), Listing(vm())])  # type: ignore[arg-type]
def test_a_list_of_the_wrong_shape_fails(answer: object) -> None:
    """It is never taken for an empty list."""
    assert "bad answer of the driver" in failure(lambda: cloud(list=answer).list(call())).text


def test_what_is_not_ours_never_reaches_the_core() -> None:
    """Another set, and no tag at all."""
    strangers = (vm("i-2", tags={"ArvadosInstanceSetID": "other"}), vm("i-3", tags={}))
    listing = cloud(list=Listing((vm(), *strangers))).list(call())
    assert [instance.id for instance in listing.instances] == ["i-1"]
    assert listing.complete


UNUSABLE = [vm(""), vm(None), vm("i-2", tags=None), vm("i-2", tags={"a": 1}), {"id": "i-2"}]


@pytest.mark.parametrize("instance", UNUSABLE)
def test_an_instance_that_cannot_be_understood_makes_the_list_incomplete(instance: Any) -> None:
    """The others are used; what is missing proves nothing."""
    listing = cloud(list=Listing((vm(), instance))).list(call())
    assert [instance.id for instance in listing.instances] == ["i-1"]
    assert not listing.complete


MENDED = [
    ({"address": "not an address"}, "address", None),
    ({"address": "10.0.0.1:22"}, "address", "10.0.0.1:22"),
    ({"name": None}, "name", "i-1"),
    ({"state": "deleting"}, "state", Presence.DELETING),
    ({"state": "exploded"}, "state", Presence.PRESENT),
    ({"user": None}, "user", "root"),
    ({"host_keys": (HostKey("ssh-ed25519", "AAAA"),)}, "host_keys", (HostKey("ssh-ed25519", "AAAA"),)),
    ({"host_keys": ("ssh-ed25519 AAAA",)}, "host_keys", ()),
    ({"host_keys": (HostKey("", "AAAA"),)}, "host_keys", ()),
    ({"host_keys": None}, "host_keys", ()),
]


@pytest.mark.parametrize(("given", "field", "value"), MENDED)
def test_a_detail_that_is_wrong_is_taken_for_unknown(given: dict, field: str, value: object) -> None:
    """The instance is there all the same, and the list complete."""
    listing = cloud(list=Listing((vm(**given),))).list(call())
    assert getattr(listing.instances[0], field) == value
    assert listing.complete


def test_an_id_that_is_listed_twice_counts_once() -> None:
    """The first one is taken."""
    listing = cloud(list=Listing((vm(address="a"), vm(address="b")))).list(call())
    assert [instance.address for instance in listing.instances] == ["a"]


def test_the_same_complaint_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A list comes every few seconds."""
    port = cloud(list=Listing((vm(address="x y"),)))
    for _ in range(3):
        port.list(call())
    assert len(caplog.records) == 1


def test_leftovers_pass_and_rubbish_among_them_does_not() -> None:
    """They are a hint, so a bad one is dropped in silence."""
    disk = Leftover("disk-1", "disk")
    assert cloud(list=Listing((), leftovers=(disk, "disk-2"))).list(call()).leftovers == (disk,)  # type: ignore[arg-type]


@pytest.mark.parametrize(("reported", "kept"), [(7, 7), ("7", None), (float("inf"), None), (True, None)])
def test_only_numbers_are_reported_back(reported: object, kept: object) -> None:
    """The core paces itself by them."""
    used = call()
    cloud(list=Listing(()), calls_remaining=reported).list(used)
    assert used.calls_remaining == kept


ADDRESSES = [
    ("10.0.0.1", True), ("vm.example.org:2222", True), ("[fe80::1]:22", True), ("[fe80::1]", True),
    ("", False), ("a b", False), ("fe80::1", True), ("host:x", False), ("a/b", False), (22, False),
]  # fmt: skip


@pytest.mark.parametrize(("address", "good"), ADDRESSES)
def test_an_address_has_a_form(address: object, good: bool) -> None:
    """host, host:port, [v6]:port."""
    assert is_address(address) is good


# ------------------------------------------------------------------------------------------------------------ capabilities

DECLARATIONS = [
    (None, Capabilities(), 0),
    (Capabilities(poll_create=True), Capabilities(poll_create=True), 0),
    ({"poll_create": True, "list_lag_s": 3}, Capabilities(poll_create=True, list_lag_s=3), 0),
    (["host_keys", "quota_groups"], Capabilities(host_keys=True, quota_groups=True), 0),
    ("host_keys", Capabilities(host_keys=True), 0),
    ({"limits": {"create": 2.0}}, Capabilities(limits=RateLimits(create=2.0)), 0),
    (["host_kees"], Capabilities(), 1),
    (["delete_leftover"], Capabilities(), 1),
    (["list_lag_s"], Capabilities(), 1),
    ({"list_lag_s": -1.0}, Capabilities(), 1),
    ({"limits": {"creates": 2.0}}, Capabilities(), 1),
    (7, Capabilities(), 1),
]


@pytest.mark.parametrize(("declared", "taken", "warnings"), DECLARATIONS)
def test_capabilities_come_in_many_forms(declared: object, taken: Capabilities, warnings: int) -> None:
    """What is not known, has no method or makes no sense is warned of and not used."""
    complaints: list[str] = []
    assert checked_capabilities(Puppet(capabilities=declared), complaints.append) == taken
    assert len(complaints) == warnings


def test_what_is_not_declared_is_not_called() -> None:
    """A method alone means nothing."""
    port = cloud(poll_create=RuntimeError(), host_keys=RuntimeError(), quota_group=RuntimeError())
    assert (port.poll_create("op", call()), port.host_keys("i-1"), port.quota_group(TYPE)) == (True, (), "")


def test_what_is_declared_is_called() -> None:
    """Host keys, polls and groups come from the driver."""
    keys = [HostKey("ssh-ed25519", "AAAA")]
    names = ["poll_create", "host_keys", "quota_groups"]
    port = cloud(capabilities=names, poll_create=False, host_keys=keys, quota_group="m")
    assert (port.poll_create("op", call()), port.host_keys("i-1"), port.quota_group(TYPE)) == (False, tuple(keys), "m")


def test_host_keys_that_fail_are_no_empty_answer() -> None:
    """To take them for "none known" would make any key acceptable."""
    failure(lambda: cloud(capabilities=["host_keys"], host_keys=KeyError()).host_keys("i-1"))
    failure(lambda: cloud(capabilities=["host_keys"], host_keys=["ssh-ed25519 AAAA"]).host_keys("i-1"))


def test_a_quota_group_that_fails_is_no_group() -> None:
    """It is a hint; a plan must not stumble over it."""
    assert cloud(capabilities=["quota_groups"], quota_group=KeyError()).quota_group(TYPE) == ""


# --------------------------------------------------------------------------------------------------------------- discovery

BROKEN = "no_such_package.at_all:open"


def point(name: str, target: str) -> EntryPoint:
    return EntryPoint(name=name, value=target, group="dispatcher.drivers")


def open_by(name: str, *points: EntryPoint, parameters: dict | None = None) -> Cloud:
    return open_driver(name, settings(parameters), wall=lambda: WALL_S, entries=find_entries(points))


def test_the_installed_drivers_are_found() -> None:
    """Those of this package are there, and can be loaded."""
    entries = {entry.name: entry for entry in find_entries()}
    assert {"local", "stub"} <= set(entries)
    assert entries["stub"].package == "cloud-dispatcher"
    assert problem_of(entries["stub"]) == ""


def test_only_the_configured_driver_is_loaded() -> None:
    """A broken neighbour does not matter; it says what is wrong when somebody asks."""
    stub = StubCloud(now=lambda: 0.0, random=random.Random(1), knobs=StubKnobs.kind())
    points = (point("stub", "drivers.stub:open"), point("broken", BROKEN))
    port = open_by("stub", *points, parameters={"Cloud": stub})
    assert port.list(call()).instances == ()
    assert "no_such_package" in problem_of(find_entries(points)[0])


UNUSABLE_DRIVERS = [
    ("stup", (point("stub", "drivers.stub:open"),), "did you mean 'stub'"),
    ("azure", (), "installed: none"),
    ("broken", (point("broken", BROKEN),), "cannot be loaded"),
    ("broken", (point("broken", "drivers.stub:opne"),), "cannot be loaded"),
    ("broken", (point("broken", "drivers.stub:__all__"),), "not a function"),
    ("broken", (point("broken", "builtins:len"),), "TypeError in its open()"),
    ("broken", (point("broken", "dataclasses:asdict"),), "without create, list, destroy, set_tags"),
    ("two", (point("two", "a:open"), point("two", "b:open")), "uninstall all but one"),
]


@pytest.mark.parametrize(("name", "points", "text"), UNUSABLE_DRIVERS)
def test_a_driver_that_cannot_be_used_says_why(name: str, points: tuple[EntryPoint, ...], text: str) -> None:
    """Never a crash: one kind of error that names the mend."""
    with pytest.raises(UnusableDriver, match=text.replace("(", r"\(").replace(")", r"\)")):
        open_by(name, *points)


def test_a_wrong_parameter_names_its_path() -> None:
    """So that the configuration check can name the line."""
    with pytest.raises(UnusableDriver) as caught:
        open_by("stub", point("stub", "drivers.stub:open"), parameters={"Knobs": {"nonsense": 1}})
    assert caught.value.path == "Knobs.nonsense"


def test_a_package_that_is_found_twice_counts_once() -> None:
    """Two folders on the path may hold the same metadata."""
    assert len(find_entries((point("a", "b:open"), point("a", "b:open")))) == 1


class Announcing(Puppet):
    """A driver whose instances are told of their end."""

    notice_command: Any = "ask"

    def parse_notice(self, said: str, name: str) -> Any:
        return self._play("parse_notice")


def announcing(**answers: Any) -> Cloud:
    return Cloud(Announcing(capabilities=Capabilities(notices=True), **answers), settings(), wall=lambda: WALL_S)


NOTICES = [
    ("it ends", "it ends"), ("a\nb", "a b"), ("", ""), (None, ""), (ValueError("x"), ""),
    (Notice(text="a\nb"), Announced(text="a b")),
    (Notice(text="it ends", ends_at=WALL_S + 30), Announced(text="it ends", ends_in_s=30.0)),
    (Notice(text="it ends", ends_at=float("nan")), Announced(text="it ends")),
    (Notice(text=5), ""),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize(("answer", "notice"), NOTICES)
def test_a_notice_is_a_text_or_none(answer: Any, notice: str | Announced) -> None:
    """What a driver cannot read is no end."""
    found = announcing(parse_notice=answer).notices()
    assert found is not None
    assert (found.command, found.parse("said", "i1")) == ("ask", notice)


@pytest.mark.parametrize("command", [None, "", 3, "two\nlines"])
def test_a_driver_without_a_command_asks_for_no_notices(command: Any) -> None:
    """Nor one that does not declare them."""
    made = announcing()
    made._driver.notice_command = command  # type: ignore[attr-defined]
    assert made.notices() is None
    assert cloud().notices() is None
