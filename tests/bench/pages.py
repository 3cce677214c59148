"""What the operator's page costs: the first view, a refresh, and what is sent. Neither holds the store's lock."""

from __future__ import annotations

import gzip
import time

from flask.testing import FlaskClient

from dispatcher.web.app import make_app
from dispatcher.web.kept import FRESH_S
from dispatcher.web.page import ready
from tests.bench.measure import Results, cpu_s
from tests.bench.states import stirred
from tests.web.fakes import TOKEN, FakeView
from tests.web.scenes import crowd

INSTANCES, CONTAINERS = 5_000, 10_000
SITE = f"{CONTAINERS}x{INSTANCES}"
ASKS = {"Authorization": f"Bearer {TOKEN}", "Accept-Encoding": "gzip"}


def measure(results: Results) -> None:
    if not results.wants("page"):
        return
    view = crowd(INSTANCES, CONTAINERS)
    _outlook(results, view)
    outlook = view.outlook()
    view.outlook = lambda: outlook  # type: ignore[method-assign]  # its own thread makes it in production
    for _ in results.each_round():
        view.state = stirred(view.state)
        app = make_app(view, TOKEN)  # nobody has looked before
        ready(app)
        client = app.test_client()
        results.add(f"page_first_view_ms_{SITE}", 1e3 * cpu_s(_get, client, "/"))
        results.add(f"page_first_view_kB_{SITE}", len(_get(client, "/")) / 1e3)
        results.add(f"page_first_view_unpacked_kB_{SITE}", len(gzip.decompress(_get(client, "/"))) / 1e3)
        results.add(f"page_second_viewer_ms_{SITE}", 1e3 * cpu_s(_get, client, "/"))
        _refresh(results, view, client)


def _outlook(results: Results, view: FakeView) -> None:
    for _ in results.each_round():
        view.state = stirred(view.state)
        results.add(f"page_outlook_ms_{SITE}", 1e3 * cpu_s(view.outlook))


def _refresh(results: Results, view: FakeView, client: FlaskClient) -> None:
    """One instance and one container changed; the build that everybody shares is too old."""
    tag = client.get("/changes", headers=ASKS).headers["ETag"].split('"')[1]
    time.sleep(20 * FRESH_S)
    view.state = stirred(view.state)
    results.add(f"page_refresh_ms_{SITE}", 1e3 * cpu_s(_get, client, f"/changes?since={tag}"))
    results.add(f"page_overview_json_kB_{SITE}", len(_get(client, "/overview.json")) / 1e3)


def _get(client: FlaskClient, path: str) -> bytes:
    answer = client.get(path, headers=ASKS)
    assert answer.status_code in (200, 304)
    return answer.data
