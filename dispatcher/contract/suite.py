"""The driver contract as tests: what is true of every cloud, whatever it is made of.

They create instances (seldom more than two each) and take them away again. A cloud that declares a ``list_lag_s`` is given that
time, and ``patience_s`` ends each wait.
"""

from __future__ import annotations

from dispatcher.contract.cloud import TAG_PREFIX, DriverFactory, Fault, Provoke
from dispatcher.contract.conduct import ConductTests
from dispatcher.contract.everyday import EverydayTests
from dispatcher.contract.optional import OptionalTests
from dispatcher.contract.refusals import RefusalTests

__all__ = ["TAG_PREFIX", "DriverContract", "DriverFactory", "Fault", "Provoke"]


class DriverContract(EverydayTests, ConductTests, RefusalTests, OptionalTests):
    """Subclass it as ``class TestMyDriver(DriverContract)`` and override the fixtures that do not fit your cloud."""
