"""What the tests of the embedded queue share: one in this process, and one that really listens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.desk import Desk
from tests.embedded.live import LiveQueue


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def own_queue(tmp_path: Path) -> Iterator[LiveQueue]:
    """A queue that the test starts, kills and starts again; none is left behind."""
    (tmp_path / "queue").mkdir()
    queue = LiveQueue(tmp_path / "queue")
    yield queue
    queue.kill()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveQueue]:
    queue = LiveQueue(tmp_path_factory.mktemp("queue"))
    queue.start()
    yield queue
    queue.stop()
