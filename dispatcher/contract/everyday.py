"""What is true of every cloud on an ordinary day: create, list, tags, destroy."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from dispatcher.contract.cloud import TAG_PREFIX, Cloud, call, declared, exists, list_lag_s, tags_of
from dispatcher.contract.fixtures import ContractFixtures
from dispatcher.driver import CloudError, Created, HostKey, Instance, Leftover, Listing, Presence

FLEET = 3
LOOKS = 3
LONGEST_TAG = 256
ADDRESS = re.compile(r"([^\s:/\[\]]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class EverydayTests(ContractFixtures):
    """One or two instances for each test, seldom three."""

    # ------------------------------------------------------------------------------------------------------------- create

    def test_a_created_instance_is_listed_with_its_name_and_tags(self, cloud: Cloud) -> None:
        """Name and tags are the only memory that the dispatcher has of it: they come back exactly."""
        request = cloud.request()
        created = cloud.driver.create(request, call())
        assert isinstance(created, Created)
        assert isinstance(created.id, str)
        assert created.id
        cloud.wait_until(lambda: cloud.find(created.id), "the created instance is listed")
        listed = cloud.find(created.id)
        assert listed is not None
        assert listed.name == request.name
        assert dict(listed.tags) == dict(request.tags)
        assert listed.provider_type == request.instance_type.provider_type

    def test_two_instances_have_two_ids(self, cloud: Cloud) -> None:
        """Different names are different instances, each listed once."""
        ids = {cloud.driver.create(cloud.request(), call()).id for _ in range(2)}
        assert len(ids) == 2
        cloud.wait_until(lambda: ids <= {instance.id for instance in cloud.listing().instances}, "both are listed")
        listed = [instance.id for instance in cloud.listing().instances]
        assert len(listed) == len(set(listed))

    def test_an_idempotent_create_makes_one_instance(self, cloud: Cloud) -> None:
        """Who declares ``create_is_idempotent`` answers the same name with the same instance."""
        if not declared(cloud.driver).create_is_idempotent:
            pytest.skip("create_is_idempotent is not declared")
        request = cloud.request()
        first, second = cloud.driver.create(request, call()), cloud.driver.create(request, call())
        assert first.id == second.id
        cloud.wait_until(lambda: cloud.find(first.id), "the created instance is listed")
        assert len([instance for instance in cloud.listing().instances if instance.name == request.name]) == 1

    # --------------------------------------------------------------------------------------------------------------- list

    def test_an_empty_set_lists_nothing(self, cloud: Cloud) -> None:
        """A complete list without instances is an answer, not an error."""
        listing = cloud.listing()
        assert isinstance(listing, Listing)
        assert isinstance(listing.instances, tuple)
        assert listing.complete in (True, False)
        assert listing.instances == ()

    def test_several_are_each_listed_exactly_once(self, cloud: Cloud) -> None:
        """However many pages the cloud answers in: none is missing at their ends, none stands there twice."""
        made = sorted(cloud.driver.create(cloud.request(), call()).id for _ in range(FLEET))
        cloud.wait_until(lambda: set(made) <= {instance.id for instance in cloud.listing().instances}, "all are listed")
        assert sorted(instance.id for instance in cloud.listing().instances) == made

    def test_a_list_is_complete_on_an_ordinary_day(self, cloud: Cloud) -> None:
        """From lists that are never complete nobody learns that an instance is gone."""
        assert any(cloud.listing().complete for _ in range(LOOKS))

    def test_a_list_is_no_older_than_declared(self, cloud: Cloud) -> None:
        """What was created is shown after ``list_lag_s``, in whatever state: later it would count as gone. So are new tags."""
        created = cloud.driver.create(cloud.request(), call())
        cloud.let_lag_pass()
        listing = cloud.listing()
        assert _holds(listing, created.id) or not listing.complete, f"not listed {list_lag_s(cloud.driver)} s after its create"
        tags = cloud.tags(**{f"{TAG_PREFIX}IdleBehavior": "hold"})
        cloud.wait_until(lambda: cloud.find(created.id), "the created instance is listed")
        cloud.driver.set_tags(created.id, tags, call())
        cloud.let_lag_pass()
        assert tags_of(cloud.find(created.id)) == tags, f"older tags are listed {list_lag_s(cloud.driver)} s after they were set"

    def test_an_instance_gets_an_address(self, cloud: Cloud) -> None:
        """Without one nobody can log in."""
        instance_id = cloud.create()
        cloud.wait_until(lambda: (found := cloud.find(instance_id)) and found.address, "the instance is listed with an address")

    def test_a_listed_instance_stays_listed(self, cloud: Cloud) -> None:
        """What a complete list leaves out counts as gone, and its containers as lost."""
        instance_id = cloud.create()
        listings = [cloud.listing() for _ in range(LOOKS)]
        assert [listing for listing in listings if listing.complete and not _holds(listing, instance_id)] == []

    def test_a_list_is_made_of_the_contracts_values(self, cloud: Cloud) -> None:
        """Types, the form of addresses and dates: what cannot be understood is left out, and would look as if it were gone."""
        cloud.create()
        listing = cloud.listing()
        assert [mistake for instance in listing.instances for mistake in _mistakes(instance)] == []
        assert all(isinstance(left, Leftover) and left.id and left.kind for left in listing.leftovers)

    # --------------------------------------------------------------------------------------------------------------- tags

    def test_tags_are_replaced_by_exactly_those_given(self, cloud: Cloud) -> None:
        """The full map: what is not in it is gone."""
        instance_id = cloud.create()
        first = cloud.tags(**{f"{TAG_PREFIX}IdleBehavior": "hold", f"{TAG_PREFIX}Note": "by an operator"})
        second = cloud.tags(**{f"{TAG_PREFIX}IdleBehavior": "run"})
        for tags in (first, second):
            cloud.driver.set_tags(instance_id, tags, call())
            cloud.wait_until(lambda tags=tags: tags_of(cloud.find(instance_id)) == tags, f"the tags are {tags}")  # type: ignore[misc]

    def test_tags_of_what_does_not_exist_are_an_error(self, cloud: Cloud) -> None:
        """And it is one of the contract's errors."""
        gone = cloud.create()
        cloud.destroy(gone)
        with pytest.raises(CloudError):
            cloud.driver.set_tags(gone, cloud.tags(), call())

    # ------------------------------------------------------------------------------------------------------------- destroy

    def test_a_destroyed_instance_disappears(self, cloud: Cloud) -> None:
        """Until then it may show, at best as deleting; in the end a list is without it."""
        cloud.destroy(cloud.create())

    def test_destroy_is_harmless_when_repeated(self, cloud: Cloud) -> None:
        """While it goes, and when it is gone: success."""
        instance_id = cloud.create()
        cloud.driver.destroy(instance_id, call())
        cloud.destroy(instance_id)
        cloud.driver.destroy(instance_id, call())

    def test_destroy_leaves_the_others_alone(self, cloud: Cloud) -> None:
        """Only what was named goes."""
        kept, doomed = cloud.create(), cloud.create()
        cloud.destroy(doomed)
        assert exists(cloud.find(kept))

    def test_tags_keep_every_character(self, cloud: Cloud) -> None:
        """An operator's reason in any script, quotes and signs, up to the longest that the dispatcher writes."""
        instance_id = cloud.create()
        reason = "größer, \u65e5\u672c\u8a9e; 'it' = \"so\" <b> & 100% \\ {x}".ljust(LONGEST_TAG, "ä")
        tags = cloud.tags(**{f"{TAG_PREFIX}Reason": reason})
        cloud.driver.set_tags(instance_id, tags, call())
        cloud.wait_until(lambda: tags_of(cloud.find(instance_id)) == tags, "the tags are listed as they were given")

    def test_the_same_tags_may_be_set_again(self, cloud: Cloud) -> None:
        """When nobody knows what became of a call, it is sent once more."""
        instance_id = cloud.create()
        tags = cloud.tags(**{f"{TAG_PREFIX}IdleBehavior": "drain"})
        cloud.driver.set_tags(instance_id, tags, call())
        cloud.driver.set_tags(instance_id, tags, call())
        cloud.wait_until(lambda: tags_of(cloud.find(instance_id)) == tags, "the tags are those that were set twice")

    def test_tags_stay_with_their_instance(self, cloud: Cloud) -> None:
        """What happens to another instance does not change them."""
        kept = cloud.create()
        tags = cloud.tags(**{f"{TAG_PREFIX}IdleBehavior": "hold"})
        cloud.driver.set_tags(kept, tags, call())
        other = cloud.create()
        cloud.driver.set_tags(other, cloud.tags(**{f"{TAG_PREFIX}IdleBehavior": "run"}), call())
        cloud.destroy(other)
        cloud.wait_until(lambda: tags_of(cloud.find(kept)) == tags, "its tags are those that it was given")


def _holds(listing: Listing, instance_id: str) -> bool:
    return any(instance.id == instance_id for instance in listing.instances)


def _mistakes(instance: object) -> list[str]:
    """What is wrong with one listed instance."""
    if not isinstance(instance, Instance):
        return [f"{type(instance).__name__} is no Instance"]
    made_of_text = {"id": instance.id, "name": instance.name, "provider_type": instance.provider_type, "user": instance.user}
    wrong = {
        **{f"{key} is no text": not isinstance(value, str) or not value for key, value in made_of_text.items()},
        "tags are no texts": not _are_texts(instance.tags),
        f"address {instance.address!r} is not host, host:port or [v6]:port": not _matches(ADDRESS, instance.address),
        f"created_at {instance.created_at!r} is not RFC 3339": not _matches(RFC_3339, instance.created_at),
        "state is no Presence": not isinstance(instance.state, Presence),
        "failure is no CloudError": not isinstance(instance.failure, CloudError | None),
        "host_keys are no HostKeys": not all(isinstance(key, HostKey) for key in instance.host_keys),
    }
    return [text for text, is_so in wrong.items() if is_so]


def _are_texts(tags: object) -> bool:
    return isinstance(tags, Mapping) and all(isinstance(text, str) for pair in tags.items() for text in pair)


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return text is None or (isinstance(text, str) and pattern.fullmatch(text) is not None)
