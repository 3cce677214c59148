"""Health, metrics, headers and errors of the management API."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import SummaryMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from dispatcher.core.model import State
from dispatcher.web.app import make_app
from dispatcher.web.metrics import number
from tests.web.fakes import TOKEN, FakeBeat, FakeHealth, FakeView

AUTH = {"Authorization": f"Bearer {TOKEN}"}


def get(path: str, view: FakeView | None = None, **headers: str) -> TestResponse:
    return make_app(view or FakeView(), TOKEN).test_client().get(path, headers={**AUTH, **headers})


def test_health_is_upstreams_word_when_all_is_well() -> None:
    """200 and OK, and the age of each loop's last beat."""
    answer = get("/_health/ping", FakeView(judged=FakeHealth(heartbeats=(FakeBeat("prober", 0.123),))))
    assert (answer.status_code, answer.json) == (200, {"health": "OK", "loops": {"prober": {"age_s": 0.1, "late": False}}})


def test_health_names_who_leads_while_we_wait() -> None:
    """503 with the reason: a load balancer turns away, an operator reads why."""
    view = FakeView(judged=FakeHealth(ready=False, problem="another dispatcher leads: host-b", warnings=("disk full",)))
    answer = get("/_health/ping", view)
    assert answer.status_code == 503
    assert answer.json == {
        "health": "ERROR", "error": "another dispatcher leads: host-b", "warnings": ["disk full"], "loops": {},
    }


@pytest.mark.parametrize("path", ["/_health/nonesuch", "/nonesuch", "/arvados/v1/dispatch/nonesuch", "/static/x"])
def test_an_unknown_address_is_plain_404(path: str) -> None:
    """As upstream's router answers."""
    answer = get(path)
    assert (answer.status_code, answer.text, answer.mimetype) == (404, "404 page not found\n", "text/plain")


def test_every_answer_carries_the_security_headers() -> None:
    """Also refusals."""
    for answer in (get("/metrics"), get("/nonesuch"), make_app(FakeView(), TOKEN).test_client().get("/metrics")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(("sent", "kept"), [("req-abc.1", True), ("two\twords", False), ("x" * 65, False), ("", False)])
def test_a_request_keeps_its_id(sent: str, kept: bool) -> None:
    """One that is no id, or too long for a log, is replaced."""
    told = get("/nonesuch", **{"X-Request-Id": sent}).headers["X-Request-Id"]
    assert (told == sent) is kept
    assert kept or re.fullmatch(r"req-[0-9a-f]{20}", told)


class Nosy(FakeView):
    """While one request is answered, another asks what is being answered."""

    client: Any = None
    seen: Any = None

    def snapshot(self) -> State:
        asked = threading.Thread(target=self._ask)
        asked.start()
        asked.join()
        return self.state

    def _ask(self) -> None:
        self.seen = self.client.get("/_inspect/requests", headers=AUTH).json


def test_requests_that_are_being_answered_are_shown() -> None:
    """The oldest first, without tokens, and no longer when they are answered."""
    view = Nosy()
    app = make_app(view, TOKEN)
    view.client = app.test_client()
    app.test_client().get(f"/arvados/v1/dispatch/instances?x=1&api_token={TOKEN}", headers={"X-Request-Id": "req-1"})
    first, second = view.seen
    assert first.pop("elapsed_s") >= second["elapsed_s"] >= 0
    assert first == {
        "RequestID": "req-1", "remoteAddr": "127.0.0.1", "reqMethod": "GET", "reqPath": "/arvados/v1/dispatch/instances",
        "reqQuery": "x=1&api_token=***",
    }  # fmt: skip
    assert second["reqPath"] == "/_inspect/requests"
    view._ask()
    assert [one["reqPath"] for one in view.seen] == ["/_inspect/requests"]


def test_what_fails_or_is_refused_is_not_shown_for_ever() -> None:
    """An inner error, an unknown address and a stranger leave nothing behind."""
    client = make_app(Broken(), TOKEN).test_client()
    client.get("/arvados/v1/dispatch/instances", headers=AUTH)
    client.get("/nonesuch", headers=AUTH)
    client.get("/metrics")
    client.get("/sign-in")
    assert [one["reqPath"] for one in client.get("/_inspect/requests", headers=AUTH).json] == ["/_inspect/requests"]


class Broken(FakeView):
    def snapshot(self) -> State:
        raise RuntimeError(f"this text holds {TOKEN}")


def test_an_inner_error_tells_the_client_nothing() -> None:
    """The log has the traceback; the answer has the id to find it by."""
    answer = get("/arvados/v1/dispatch/instances", Broken())
    assert answer.status_code == 500
    assert list(answer.json) == ["errors"]
    assert TOKEN not in answer.text


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Gauge("toy_instances", "Instances", ["state"], registry=made).labels("idle").set(3)
    Counter("toy_calls", "Calls", registry=made).inc(2)
    Histogram("toy_size", "Size", buckets=(1.0,), registry=made).observe(0.5)
    return made


class Quantiles:
    def collect(self) -> list[SummaryMetricFamily]:
        family = SummaryMetricFamily("toy_wait", "Wait", count_value=2, sum_value=3)
        family.add_sample("toy_wait", {"quantile": "0.5"}, 1.5)
        return [family]


def test_metrics_are_text() -> None:
    """From the registry that the view hands over."""
    answer = get("/metrics", FakeView(metrics=registry()))
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert 'toy_instances{state="idle"} 3\n' in answer.text


def test_a_label_may_hold_any_text() -> None:
    """A type's name with quotes, backslashes and line ends comes back as it was."""
    made, odd = CollectorRegistry(), 'two "quoted" \\ and\na line'
    Gauge("toy_instances", 'Instances: "all" \\ of\nthem', ["type"], registry=made).labels(odd).set(1)
    page = get("/metrics", FakeView(metrics=made)).text
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert families["toy_instances"].samples[0].labels == {"type": odd}


def test_metrics_are_json() -> None:
    """The same families in upstream's JSON form."""
    made = registry()
    made.register(Quantiles())
    families = {family["name"]: family for family in get("/metrics.json", FakeView(metrics=made)).json}
    assert families["toy_instances"] == {
        "name": "toy_instances", "help": "Instances", "type": "GAUGE",
        "metric": [{"label": [{"name": "state", "value": "idle"}], "gauge": {"value": 3}}],
    }
    assert families["toy_calls_total"]["metric"] == [{"label": [], "counter": {"value": 2}}]
    assert families["toy_size"]["metric"] == [
        {
            "label": [],
            "histogram": {
                "sample_count": 1, "sample_sum": 0.5,
                "bucket": [{"le": "1.0", "cumulative_count": 1}, {"le": "+Inf", "cumulative_count": 1}],
            },
        }
    ]
    assert families["toy_wait"]["metric"] == [
        {"label": [], "summary": {"sample_count": 2, "sample_sum": 3, "quantile": [{"quantile": "0.5", "value": 1.5}]}}
    ]


@pytest.mark.parametrize(("value", "told"), [(1.5, 1.5), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")])
def test_numbers_that_json_lacks_are_text(value: float, told: object) -> None:
    """A page that holds NaN could be read by nobody."""
    assert number(value) == told
