"""The stub: a cloud in memory, the only fake cloud of the tests. Unkind unless told otherwise.

* ``knobs.py`` names everything that can go wrong, ``refusals.py`` and ``build.py`` draw it by chance;
* ``cloud.py`` is what exists, ``driver.py`` the contract on top of it;
* ``instance.py`` is one machine and ``process.py`` a runner on it, as plain objects in somebody else's time;
* ``servers.py`` lets the same machines answer over real SSH;
* ``plugin.py`` opens it as a driver by name.
"""

from drivers.stub.cloud import StubCloud
from drivers.stub.driver import StubDriver
from drivers.stub.instance import CommandFailed, ProcessList, StubInstance, Unreachable
from drivers.stub.knobs import StubKnobs
from drivers.stub.plugin import open
from drivers.stub.process import Ending, NoWorkload, StubProcess, Workload

DRIVER_CONTRACT = "1.0"

__all__ = [
    "CommandFailed",
    "Ending",
    "NoWorkload",
    "ProcessList",
    "StubCloud",
    "StubDriver",
    "StubInstance",
    "StubKnobs",
    "StubProcess",
    "Unreachable",
    "Workload",
    "open",
]
