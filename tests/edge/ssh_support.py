"""What the tests of SSH share."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from dispatcher.edge.ssh import RemoteError

TIMEOUT_S = 20.0


def failure(act: Callable[[], object]) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        act()
    return caught.value


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + TIMEOUT_S
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()
