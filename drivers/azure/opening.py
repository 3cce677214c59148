"""Opens the driver: the settings are read before the SDK is loaded, which takes a second and is needed by nobody else."""

from __future__ import annotations

import logging
import time

from dispatcher.driver import DriverSettings, Misconfigured
from drivers.azure.carried import use_carried
from drivers.azure.driver import AzureDriver
from drivers.azure.parameters import parse


def open(settings: DriverSettings) -> AzureDriver:
    """Parameters: see ``docs/azure.md``. Makes no call. Raises Misconfigured."""
    parameters = parse(settings.parameters)
    use_carried()
    try:
        from drivers.azure.arm import Arm
        from drivers.azure.credentials import open_credential
        from drivers.azure.keys import new_host_key, nobodys_public_key
    except ImportError as error:
        mend = "install cloud-dispatcher-driver-azure, or pip install 'cloud-dispatcher[azure]'"
        text = f"the Azure SDK cannot be loaded ({error}): {mend}"
        raise Misconfigured("", text) from error
    for name in ("azure", "msal"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they would log each request
    try:
        arm = Arm(parameters, lambda: open_credential(parameters), stopwatch=time.monotonic)
    except ValueError as error:
        raise Misconfigured("AuthMethod", f"{parameters.login.method}: {error}") from error
    return AzureDriver(settings, parameters, arm, host_key=new_host_key, nobodys_key=nobodys_public_key)
