"""The Azure driver: one request makes a machine with all that belongs to it, one removes it.

* ``parameters.py`` and ``reading.py`` read the settings, ``names.py`` says what is ours;
* ``request.py``, ``images.py`` and ``boot.py`` make the body of a request, ``keys.py`` the keys in it;
* ``answers.py`` and ``leftovers.py`` read lists, ``headers.py`` and ``errors.py`` what an answer means;
* ``quotas.py`` reads what is used of a quota;
* ``notices.py`` reads what a machine is told of its end;
* ``credentials.py`` and ``arm.py`` speak with Azure through its SDK, which nothing else here imports;
* ``carried.py`` finds the SDK that a package brought along;
* ``driver.py`` is the contract.
"""

from drivers.azure.opening import open

DRIVER_CONTRACT = "1.0"

__all__ = ["open"]
