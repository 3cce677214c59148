"""Tests that every driver has to pass, installed with the package so that any author can run them.

Subclass ``DriverContract`` in a test module of your own and give it a ``driver_factory``; ``docs/drivers.md`` shows how.
"""

import pytest

pytest.register_assert_rewrite("dispatcher.contract.suite")

from dispatcher.contract.suite import DriverContract  # noqa: E402  after the registration above

__all__ = ["DriverContract"]
