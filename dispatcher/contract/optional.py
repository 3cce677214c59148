"""What a driver declares it has, and what it has declared works."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest

from dispatcher.contract.cloud import Cloud, Fault, Provoke, call, declared
from dispatcher.contract.fixtures import ContractFixtures
from dispatcher.contract.refusals import provoked
from dispatcher.driver import Capabilities, CloudError, HostKey, InstanceType, Leftover, Price, TypeFacts, Usage

METHODS = {
    "poll_create": ("poll_create",),
    "host_keys": ("host_keys",),
    "delete_leftover": ("delete_leftover",),
    "notices": ("parse_notice",),
    "quota_groups": ("quota_group",),
    "prices": ("prices",),
    "type_facts": ("type_facts",),
}


class OptionalTests(ContractFixtures):
    """What is not declared is skipped."""

    def test_what_is_declared_is_there(self, cloud: Cloud) -> None:
        """Names that the contract knows, numbers that make sense, and a method for each."""
        said: object = getattr(cloud.driver, "capabilities", ())
        names = said if isinstance(said, Mapping | list | tuple | set | frozenset) else ()
        assert isinstance(said, Capabilities | Mapping | list | tuple | set | frozenset), repr(said)
        assert [name for name in names if name not in Capabilities.__dataclass_fields__] == []
        capabilities = declared(cloud.driver)
        declared_methods = [method for name, methods in METHODS.items() if getattr(capabilities, name) for method in methods]
        assert [method for method in declared_methods if not callable(getattr(cloud.driver, method, None))] == []
        spans = [getattr(capabilities, name) for name in Capabilities.__dataclass_fields__ if name.endswith("_s")]
        assert all(_is_span(value) for value in spans)
        limits = capabilities.limits
        assert all(rate is None or rate > 0 for rate in (limits.create, limits.list, limits.destroy, limits.set_tags))
        assert limits.burst >= 1

    def test_an_accepted_create_comes_to_an_end(self, cloud: Cloud) -> None:
        """Who declares ``poll_create`` says True in the end, False until then, or a CloudError as the value."""
        if not declared(cloud.driver).poll_create:
            pytest.skip("poll_create is not declared")
        poll: Callable[..., object] = getattr(cloud.driver, "poll_create")  # noqa: B009  not in the protocol
        operation = cloud.driver.create(cloud.request(), call()).operation
        if operation is None:
            pytest.skip("this create was done when it was accepted")
        answers: list[object] = []

        def ended() -> bool:
            answers.append(poll(operation, call()))
            assert isinstance(answers[-1], bool | CloudError), f"poll_create answered {answers[-1]!r}"
            return answers[-1] is not False

        cloud.wait_until(ended, "poll_create says how the create ended")
        assert answers[-1] is True, f"the create failed: {answers[-1]}"

    def test_a_leftover_is_listed_and_deleted(self, make_cloud: Callable[[], Cloud], provoke: Provoke) -> None:
        """By its own set alone; twice is harmless."""
        ours, theirs = make_cloud(), make_cloud()
        if not declared(ours.driver).delete_leftover:
            pytest.skip("delete_leftover is not declared")
        delete: Callable[..., object] = getattr(ours.driver, "delete_leftover")  # noqa: B009  not in the protocol
        instance_id = ours.create()
        with provoked(provoke, Fault.LEFTOVER):
            ours.destroy(instance_id)
        ours.wait_until(lambda: ours.listing().leftovers, "what the instance left behind is listed")
        leftover = ours.listing().leftovers[0]
        assert isinstance(leftover, Leftover)
        assert theirs.listing().leftovers == ()
        delete(leftover, call())
        delete(leftover, call())
        ours.wait_until(lambda: leftover not in ours.listing().leftovers, "the leftover is gone")

    def test_another_sets_leftover_is_left_alone(self, make_cloud: Callable[[], Cloud], provoke: Provoke) -> None:
        """Whatever it is called by: it may hold somebody's data. Whether the call raises is up to the driver."""
        ours, theirs = make_cloud(), make_cloud()
        if not declared(ours.driver).delete_leftover:
            pytest.skip("delete_leftover is not declared")
        delete: Callable[..., object] = getattr(theirs.driver, "delete_leftover")  # noqa: B009  not in the protocol
        instance_id = ours.create()
        with provoked(provoke, Fault.LEFTOVER):
            ours.destroy(instance_id)
        ours.wait_until(lambda: ours.listing().leftovers, "what the instance left behind is listed")
        leftover = ours.listing().leftovers[0]
        with suppress(CloudError):
            delete(leftover, call())
        ours.let_lag_pass()
        assert leftover.id in {each.id for each in ours.listing().leftovers}

    def test_usages_are_told_when_they_are_asked_for(self, cloud: Cloud) -> None:
        """Who declares ``usages`` puts at least one into a list that is asked for them: amounts, under the name of a group."""
        if not declared(cloud.driver).usages:
            pytest.skip("usages is not declared")
        usages = cloud.driver.list(call()).usages
        assert usages
        assert all(isinstance(usage, Usage) and isinstance(usage.group, str) for usage in usages)
        assert all(_is_span(amount) for usage in usages for amount in (usage.used, usage.limit))

    def test_a_notice_is_asked_for_by_one_line(self, cloud: Cloud) -> None:
        """And whatever the command prints is read without an error: silence and nonsense are no notice."""
        if not declared(cloud.driver).notices:
            pytest.skip("notices is not declared")
        command = getattr(cloud.driver, "notice_command", None)
        assert isinstance(command, str)
        assert command
        assert "\n" not in command
        parse: Callable[[str, str], str] = getattr(cloud.driver, "parse_notice")  # noqa: B009  not in the protocol
        assert [parse(text, "contract-1") for text in ("", "<html>", "{", "[]", "null")] == [""] * 5

    def test_host_keys_are_those_of_the_instance(self, cloud: Cloud) -> None:
        """Who declares ``host_keys`` returns HostKey values for an instance, none for what does not exist."""
        if not declared(cloud.driver).host_keys:
            pytest.skip("host_keys is not declared")
        host_keys: Callable[[str], tuple[HostKey, ...]] = getattr(cloud.driver, "host_keys")  # noqa: B009  not in the protocol
        created = cloud.driver.create(cloud.request(), call())
        cloud.wait_until(lambda: host_keys(created.id), "host keys are known")
        assert all(isinstance(key, HostKey) and key.type and key.base64 for key in host_keys(created.id))
        assert tuple(host_keys("no-such-instance")) == ()

    def test_prices_and_facts_are_about_what_was_asked(self, cloud: Cloud, instance_type: InstanceType) -> None:
        """Who declares ``prices`` or ``type_facts`` answers with values of the contract, under the names that were asked for, and
        says nothing against creating the type that these tests create."""
        capabilities = declared(cloud.driver)
        asked = [name for name in ("prices", "type_facts") if getattr(capabilities, name)]
        if not asked:
            pytest.skip("neither prices nor type_facts is declared")
        for name in asked:
            ask: Callable[..., tuple[Price | TypeFacts, ...]] = getattr(cloud.driver, name)
            found = ask([instance_type], call())
            assert all(isinstance(one, Price | TypeFacts) and one.name == instance_type.name for one in found)
            assert all(not one.unavailable for one in found if isinstance(one, TypeFacts))
            assert all(one.per_hour >= 0 for one in found if isinstance(one, Price))
            assert tuple(ask([], call())) == ()

    def test_a_quota_group_is_a_text(self, cloud: Cloud, instance_type: InstanceType) -> None:
        """Who declares ``quota_groups`` names one for every type, without asking the cloud."""
        if not declared(cloud.driver).quota_groups:
            pytest.skip("quota_groups is not declared")
        quota_group: Callable[[InstanceType], str] = getattr(cloud.driver, "quota_group")  # noqa: B009  not in the protocol
        assert isinstance(quota_group(instance_type), str)


def _is_span(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0
