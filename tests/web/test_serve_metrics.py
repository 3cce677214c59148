"""What only the real server can show of requests: that they wait for a thread, and that the wait is told."""

from __future__ import annotations

import threading
from pathlib import Path

import requests

from tests.web.exposition import read
from tests.web.fakes import TOKEN
from tests.web.test_serve import eventually, running

THREADS = 8


def test_a_request_that_found_all_threads_busy_has_waited(tmp_path: Path) -> None:
    """Every thread answers somebody slow: who comes then waits, and is told as having waited."""
    with running(tmp_path, "slow=3") as server:
        clients = [threading.Thread(target=requests.get, args=(server.address + "/slow",)) for _ in range(THREADS)]
        for client in clients:
            client.start()
        eventually(lambda: len(server.events("slow")) == THREADS, "all threads to be busy")
        answer = requests.get(server.address + "/metrics", timeout=30, headers={"Authorization": f"Bearer {TOKEN}"})
        page = read(answer.text)
        for client in clients:
            client.join()
    assert page.value("arvados_queue_delay_seconds_count", queue="api", priority="normal") == 1
    assert page.value("arvados_queue_delay_seconds_sum", queue="api", priority="normal") > 0
    assert page.value("arvados_max_concurrent_requests", queue="api") == THREADS
    assert page.value("arvados_max_queued_requests", queue="api") == 1000 - THREADS
