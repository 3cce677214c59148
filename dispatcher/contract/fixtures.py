"""The fixtures that an author overrides where the cloud needs it, and those that the tests use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from dispatcher.contract.cloud import Cloud, DriverFactory, Provoke, Surroundings
from dispatcher.driver import InstanceType

MakeCloud = Callable[[], Cloud]


class ContractFixtures:
    """Override what does not fit your cloud."""

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
    def provoke(self) -> Provoke:
        """From a Fault to a context in which the cloud does it, or None when it cannot. Only a fake can: the tests that need
        it are skipped elsewhere."""
        return lambda fault: None

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        """Texts of the settings that no error, log line or ``repr`` may show."""
        return ()

    @pytest.fixture
    def grace_s(self) -> float:
        """How long a call may go on beyond its deadline: what an answer takes that is already under way."""
        return 10.0

    @pytest.fixture
    def instance_set_id(self) -> str:
        """The set in which instances are made; further sets of a test add to it. It has to be empty."""
        return f"contract-{os.urandom(6).hex()}"

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
    def make_cloud(self, driver_factory: DriverFactory, surroundings: Surroundings, instance_set_id: str) -> Iterator[MakeCloud]:
        """Each call opens a driver for a set of its own; everything in them is taken away in the end."""
        made: list[Cloud] = []

        def make() -> Cloud:
            set_id = instance_set_id if not made else f"{instance_set_id}-{len(made) + 1}"
            cloud = Cloud(driver_factory(set_id), set_id, surroundings)
            cloud.refuse_unless_empty()
            made.append(cloud)
            return cloud

        yield make
        for cloud in made:
            cloud.take_away()

    @pytest.fixture
    def cloud(self, make_cloud: MakeCloud) -> Cloud:
        return make_cloud()
