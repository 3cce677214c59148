"""The contract tests of the driver that ``--driver`` names. Everything is made in one instance set, which has to be empty."""

from __future__ import annotations

import pytest

from dispatcher.contract.chosen import Chosen, chosen, secrets_in
from dispatcher.contract.cloud import DriverFactory
from dispatcher.contract.suite import DriverContract
from dispatcher.driver import InstanceType, Misconfigured

NO_SUCH_KEY = "NoDriverHasThisKey"


@pytest.fixture(scope="session")
def the_driver(pytestconfig: pytest.Config) -> Chosen:
    try:
        return chosen(pytestconfig)
    except pytest.UsageError as wrong:
        pytest.exit(str(wrong), returncode=pytest.ExitCode.USAGE_ERROR)


class TestDriver(DriverContract):
    """With the settings of ``--config``."""

    @pytest.fixture
    def driver_factory(self, the_driver: Chosen) -> DriverFactory:
        return the_driver.open

    @pytest.fixture
    def instance_type(self, the_driver: Chosen) -> InstanceType:
        return the_driver.instance_type

    @pytest.fixture
    def image_id(self, the_driver: Chosen) -> str:
        return the_driver.image_id

    @pytest.fixture
    def instance_set_id(self, the_driver: Chosen) -> str:
        return the_driver.instance_set_id

    @pytest.fixture
    def patience_s(self, the_driver: Chosen) -> float:
        return the_driver.patience_s

    @pytest.fixture
    def public_key(self, the_driver: Chosen) -> str | None:
        """A key that nobody has, unless one was given: the tests log in nowhere."""
        nobodys = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4 contract"
        return the_driver.public_key or nobodys

    @pytest.fixture
    def secrets(self, the_driver: Chosen) -> tuple[str, ...]:
        return secrets_in(the_driver.parameters)

    def test_an_unknown_parameter_is_a_mistake(self, the_driver: Chosen) -> None:
        """A misspelt key is told by its path when the driver is opened, not by what the cloud makes of it later."""
        with pytest.raises(Misconfigured) as found:
            the_driver.open(the_driver.instance_set_id, **{NO_SUCH_KEY: "x"})
        assert found.value.path == NO_SUCH_KEY
