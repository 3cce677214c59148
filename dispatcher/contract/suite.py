"""The driver contract as tests: what is true of every cloud, whatever it is made of.

They create instances (one or two each) and destroy them again. A cloud that declares a ``list_lag_s`` is given that time, and
``patience_s`` ends each wait.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from dispatcher.driver import (
    Call,
    CloudError,
    Created,
    CreateRequest,
    Driver,
    HostKey,
    Instance,
    InstanceType,
    Listing,
    Presence,
)

DriverFactory = Callable[[str], Driver]
TAG_PREFIX = "ContractTest"
MAX_SLEEP_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the author's fixtures say about this cloud."""

    instance_type: InstanceType
    image_id: str
    public_key: str | None
    pause: Callable[[float], None]
    patience_s: float


class Cloud:
    """A driver and what was made with it, so that it can be taken away again."""

    def __init__(self, driver: Driver, set_id: str, surroundings: Surroundings) -> None:
        self.driver = driver
        self.set_id = set_id
        self._around = surroundings
        self._names = (f"contract-{os.urandom(4).hex()}-{number}" for number in itertools.count(1))

    def request(self, name: str | None = None) -> CreateRequest:
        return CreateRequest(
            name=name or next(self._names),
            instance_type=self._around.instance_type,
            image_id=self._around.image_id,
            tags=self.tags(),
            init_script="#!/bin/sh\n",
            public_key=self._around.public_key,
        )

    def tags(self, **more: str) -> dict[str, str]:
        return {f"{TAG_PREFIX}InstanceSetID": self.set_id, f"{TAG_PREFIX}InstanceType": self._around.instance_type.name, **more}

    def listing(self) -> Listing:
        return self.driver.list(call())

    def find(self, instance_id: str) -> Instance | None:
        return next((instance for instance in self.listing().instances if instance.id == instance_id), None)

    def wait_until(self, holds: Callable[[], object], what: str) -> None:
        """Look again and again until it holds, and once more after the lag of lists: then it has to stay so."""
        step_s = min(1.0, self._around.patience_s / 100)
        for _ in range(int(self._around.patience_s / step_s)):
            if holds():
                break
            self._around.pause(step_s)
        self._around.pause(list_lag_s(self.driver))
        if not holds():
            pytest.fail(f"not within {self._around.patience_s} s: {what}")

    def create(self) -> str:
        """The id of a new instance, once it is listed."""
        created = self.driver.create(self.request(), call())
        self.wait_until(lambda: self.find(created.id), "the created instance is listed")
        return created.id

    def destroy(self, instance_id: str) -> None:
        """Returns when it is listed no more."""
        self.driver.destroy(instance_id, call())
        self.wait_until(lambda: self.find(instance_id) is None, "the destroyed instance is not listed")


def call() -> Call:
    return Call(timeout_s=120.0)


def exists(instance: Instance | None) -> bool:
    """Shown, and not on its way out."""
    return instance is not None and instance.state is Presence.PRESENT


class DriverContract:
    """Subclass it as ``class TestMyDriver(DriverContract)`` and override the fixtures that do not fit your cloud."""

    @pytest.fixture
    def driver_factory(self) -> DriverFactory:
        """A function from an InstanceSetID to an opened driver whose ``tag_prefix`` is ``TAG_PREFIX``."""
        raise NotImplementedError("give a fixture driver_factory: InstanceSetID → Driver")

    @pytest.fixture
    def instance_type(self) -> InstanceType:
        return InstanceType(name="small", provider_type="small", vcpus=1, ram_bytes=1 << 30)

    @pytest.fixture
    def image_id(self) -> str:
        return "image"

    @pytest.fixture
    def public_key(self) -> str | None:
        """An authorized_keys line."""
        return "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4 contract"

    @pytest.fixture
    def pause(self) -> Callable[[float], None]:
        """Lets time pass between two looks, in seconds."""
        return time.sleep

    @pytest.fixture
    def patience_s(self) -> float:
        """How long a create or destroy may take to show."""
        return 600.0

    @pytest.fixture
    def surroundings(
        self,
        instance_type: InstanceType,
        image_id: str,
        public_key: str | None,
        pause: Callable[[float], None],
        patience_s: float,
    ) -> Surroundings:
        """The fixtures above in one."""
        return Surroundings(
            instance_type=instance_type, image_id=image_id, public_key=public_key, pause=pause, patience_s=patience_s
        )

    @pytest.fixture
    def make_cloud(self, driver_factory: DriverFactory, surroundings: Surroundings) -> Iterator[Callable[[], Cloud]]:
        """Each call opens a driver for a set of its own; all its instances are destroyed in the end."""
        made: list[Cloud] = []

        def make() -> Cloud:
            set_id = f"contract-{os.urandom(6).hex()}"
            made.append(Cloud(driver_factory(set_id), set_id, surroundings))
            return made[-1]

        yield make
        for cloud in made:
            for instance in cloud.listing().instances:
                cloud.driver.destroy(instance.id, call())

    @pytest.fixture
    def cloud(self, make_cloud: Callable[[], Cloud]) -> Cloud:
        return make_cloud()

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
        if not _declares(cloud.driver, "create_is_idempotent"):
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

    def test_another_sets_instances_are_invisible(self, make_cloud: Callable[[], Cloud]) -> None:
        """Two dispatchers share an account and never see each other."""
        ours, theirs = make_cloud(), make_cloud()
        assert theirs.find(ours.create()) is None

    # --------------------------------------------------------------------------------------------------------------- tags

    def test_tags_are_replaced_by_exactly_those_given(self, cloud: Cloud) -> None:
        """The full map: what is not in it is gone."""
        instance_id = cloud.create()
        first = cloud.tags(**{f"{TAG_PREFIX}IdleBehavior": "hold", f"{TAG_PREFIX}Note": "by an operator"})
        second = cloud.tags(**{f"{TAG_PREFIX}IdleBehavior": "run"})
        for tags in (first, second):
            cloud.driver.set_tags(instance_id, tags, call())
            cloud.wait_until(lambda tags=tags: _tags_of(cloud.find(instance_id)) == tags, f"the tags are {tags}")  # type: ignore[misc]

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

    # ------------------------------------------------------------------------------------------------- a translator, no actor

    def test_no_call_leaves_a_thread_behind(self, cloud: Cloud) -> None:
        """Threads belong to the core."""
        before = set(threading.enumerate())
        created = cloud.driver.create(cloud.request(), call())
        cloud.listing()
        cloud.driver.destroy(created.id, call())
        assert [thread.name for thread in threading.enumerate() if thread not in before] == []

    def test_no_call_sleeps(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        """To wait and to try again is the core's business."""
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        created = cloud.driver.create(cloud.request(), call())
        cloud.listing()
        cloud.driver.destroy(created.id, call())
        assert sum(slept) <= MAX_SLEEP_S

    def test_host_keys_are_those_of_the_instance(self, cloud: Cloud) -> None:
        """Who declares ``host_keys`` returns HostKey values for an instance, none for what does not exist."""
        if not _declares(cloud.driver, "host_keys"):
            pytest.skip("host_keys is not declared")
        host_keys: Callable[[str], tuple[HostKey, ...]] = getattr(cloud.driver, "host_keys")  # noqa: B009  not in the protocol
        created = cloud.driver.create(cloud.request(), call())
        cloud.wait_until(lambda: host_keys(created.id), "host keys are known")
        assert all(isinstance(key, HostKey) and key.type and key.base64 for key in host_keys(created.id))
        assert tuple(host_keys("no-such-instance")) == ()

    def test_a_quota_group_is_a_text(self, cloud: Cloud, instance_type: InstanceType) -> None:
        """Who declares ``quota_groups`` names one for every type, without asking the cloud."""
        if not _declares(cloud.driver, "quota_groups"):
            pytest.skip("quota_groups is not declared")
        quota_group: Callable[[InstanceType], str] = getattr(cloud.driver, "quota_group")  # noqa: B009  not in the protocol
        assert isinstance(quota_group(instance_type), str)


def _tags_of(instance: Instance | None) -> dict[str, str] | None:
    return None if instance is None else dict(instance.tags)


def list_lag_s(driver: Driver) -> float:
    """What the driver declares, in any of the forms that a declaration may have."""
    declared: object = getattr(driver, "capabilities", None)
    value = declared.get("list_lag_s") if isinstance(declared, Mapping) else getattr(declared, "list_lag_s", None)
    return float(value or 0.0)


def _declares(driver: Driver, name: str) -> bool:
    """Capabilities may be a Capabilities, a mapping or an iterable of names."""
    declared: object = getattr(driver, "capabilities", ())
    if isinstance(declared, Mapping):
        return bool(declared.get(name))
    if isinstance(declared, list | tuple | set | frozenset):
        return name in declared
    return bool(getattr(declared, name, False))
