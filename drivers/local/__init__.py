"""The local driver: instances are processes on this host, each with its own SSH server, host key and folder. No root needed.

* ``parameters.py`` reads the settings, ``driver.py`` is the contract, ``folder.py`` where everything is kept;
* ``instance.py`` is the process that plays a machine, ``commands.py`` how a machine's paths fit into a folder;
* ``processes.py`` looks at what runs and ends it.
"""

from drivers.local.driver import LocalDriver, open

DRIVER_CONTRACT = "1.0"

__all__ = ["LocalDriver", "open"]
