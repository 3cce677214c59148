"""The driver on the fake Resource Manager: a real connection to a real server, whose time passes only when a test says so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from dispatcher.driver import Call, DriverSettings, InstanceType
from drivers.azure import open as open_azure
from drivers.azure.driver import AzureDriver
from tests.fake_azure.account import Account
from tests.fake_azure.knobs import Knobs
from tests.fake_azure.server import AzureServer

TYPE = InstanceType(name="small", provider_type="Standard_D2s_v5", vcpus=2, ram_bytes=8 << 30, added_scratch_bytes=10 << 30)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds


class FakeSite:
    """``with FakeSite(folder, knobs) as site``: the server, and drivers opened on it."""

    def __init__(self, folder: Path, knobs: Knobs, seed: int = 0) -> None:
        self.clock = Clock()
        self.account = Account(now=self.clock, knobs=knobs, seed=seed)
        self.server = AzureServer(self.account, folder)
        self._drivers: list[AzureDriver] = []

    def __enter__(self) -> FakeSite:
        self.server.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        for driver in self._drivers:
            driver.close()
        self.server.__exit__(*problem)

    @property
    def image(self) -> str:
        return str(self.account.site.images[0])

    def given(self, **changes: Any) -> dict[str, Any]:
        """What stands in the file."""
        said = self.server.description()
        return {
            "SubscriptionID": said["subscription"],
            "TenantID": said["tenant"],
            "ClientID": said["client_id"],
            "ClientSecret": said["client_secret"],
            "Location": said["location"],
            "ResourceGroup": said["resource_group"],
            "NetworkResourceGroup": said["network_resource_group"],
            "Network": said["network"],
            "Subnet": said["subnet"],
            "ARMEndpoint": said["endpoint"],
            "AuthorityHost": said["authority"],
            "CABundle": said["ca_file"],
            **changes,
        }

    def open(self, set_id: str, tag_prefix: str = "Arvados", **changes: Any) -> AzureDriver:
        log = logging.getLogger("test.azure")
        settings = DriverSettings(parameters=self.given(**changes), instance_set_id=set_id, tag_prefix=tag_prefix, log=log)
        driver = open_azure(settings)
        self._drivers.append(driver)
        return driver

    def warm(self, driver: AzureDriver) -> AzureDriver:
        """With its connection and token, so that whoever counts threads does not count those of the server."""
        driver.list(Call(timeout_s=30))
        return driver

    def judged(self) -> list[str]:
        """What the fake found wrong with our requests."""
        return [f"{violation.operation}: {violation.text}" for violation in self.account.judge.violations]
