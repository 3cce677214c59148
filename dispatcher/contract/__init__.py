"""Tests that every driver has to pass, installed with the package so that any author can run them.

``pytest --pyargs dispatcher.contract --driver NAME --config FILE`` runs them on an installed driver. Or subclass
``DriverContract`` in a test module of your own and give it a ``driver_factory``; ``docs/drivers.md`` shows both.

* ``cloud.py`` is what the tests do with a cloud, ``fixtures.py`` what an author may override;
* ``everyday.py``, ``conduct.py``, ``refusals.py`` and ``optional.py`` are the tests, ``suite.py`` puts them together;
* ``plugin.py`` is the options of pytest, ``chosen.py`` the driver that they name, ``test_driver.py`` the tests of it.
"""

import pytest

for room in ("cloud", "conduct", "everyday", "optional", "refusals"):
    pytest.register_assert_rewrite(f"dispatcher.contract.{room}")

from dispatcher.contract.suite import DriverContract, Fault  # noqa: E402  after the registration above

__all__ = ["DriverContract", "Fault"]
