"""Every series of the Arvados dispatcher is served under its name, kind and labels, as text and as JSON."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.meters import catalogue
from dispatcher.runtime.metrics.collector import Metrics
from dispatcher.simulation.world import VirtualClock
from dispatcher.web.app import make_app
from tests.core import build
from tests.web.exposition import Page, read
from tests.web.fakes import TOKEN, FakeView
from tests.web.upstream_metrics import PRESET, QUANTILES, UPSTREAM, WITHOUT_QUANTILES

VARIABLE = "ARVADOS_METRICS"
BESIDE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "upstream-samples" / "metrics.txt"
AUTH = {"Authorization": f"Bearer {TOKEN}"}


def client():
    """Of a dispatcher that has one container and one instance, and has answered one request before."""
    state = build.state(build.container(), build.instance())
    metrics = Metrics(VirtualClock(now_s=build.NOW))
    made = make_app(FakeView(metrics=metrics.registry(lambda: state)), TOKEN).test_client()
    made.get("/metrics", headers=AUTH).close()
    return made


def text() -> str:
    return client().get("/metrics", headers=AUTH).text


def served() -> Page:
    return read(text())


@pytest.mark.parametrize("name", UPSTREAM)
def test_a_series_of_upstream_is_served_with_its_kind_and_labels(name: str) -> None:
    """The name stands in the TYPE line as in the samples, and a summary has its quantiles."""
    kind, labels = UPSTREAM[name]
    family = served()[name]
    assert (family.kind, family.label_names()) == (kind, {labels})
    steps = {dict(own).get("quantile") for (_, own) in family.samples} - {None}
    assert steps == (set(QUANTILES) if kind == "summary" and name not in WITHOUT_QUANTILES else set())


@pytest.mark.parametrize("name", PRESET)
def test_known_labels_stand_at_0_from_the_start(name: str) -> None:
    """So that a rate has where to begin."""
    state = build.state()
    metrics = Metrics(VirtualClock(now_s=build.NOW))
    app = make_app(FakeView(metrics=metrics.registry(lambda: state)), TOKEN)
    family = read(app.test_client().get("/metrics", headers=AUTH).text)[name]
    expected = {(name, tuple(sorted(labels.items()))): 0.0 for labels in PRESET[name]}
    assert family.samples == expected


def test_what_is_served_is_what_the_catalogue_says() -> None:
    """Neither more nor less, so that docs/metrics.md is whole; upstream's rows are those of the table."""
    page, known = served(), {series.name: series for series in catalogue.SERIES}
    assert set(page) == set(known)
    for name, family in page.items():
        assert family.kind == known[name].kind.value, name
        assert family.label_names() <= {tuple(sorted(known[name].labels))}, name
    assert {series.name for series in catalogue.SERIES if series.upstream} == set(UPSTREAM)


def test_the_official_parser_reads_the_text() -> None:
    """Nothing in it is out of form, and no series tells when it was made."""
    families = list(text_string_to_metric_families(text()))
    assert len(families) >= len(catalogue.SERIES)
    assert not [sample.name for family in families for sample in family.samples if sample.name.endswith("_created")]


def test_the_json_holds_the_same_families() -> None:
    """Name, kind and every set of labels."""
    page = served()
    told = {family["name"]: family for family in client().get("/metrics.json", headers=AUTH).json}
    assert set(told) == set(page)
    assert {name: family["type"] for name, family in told.items()} == {name: f.kind.upper() for name, f in page.items()}
    held = told["arvados_dispatchcloud_instances_total"]["metric"]
    idle = [{"name": "category", "value": "idle"}, {"name": "instance_type", "value": "t4"}]
    assert [each["gauge"]["value"] for each in held if each["label"] == idle] == [1]


def test_every_series_of_the_recording_is_served() -> None:
    """What the Go dispatcher of a release showed: name, kind, labels, and every label value that both know."""
    path = Path(os.environ.get(VARIABLE) or BESIDE)
    if not path.exists():
        pytest.skip(f"no recording of the Arvados dispatcher's metrics at {path}; {VARIABLE} may name one")
    recorded, ours = read(path.read_text(encoding="utf-8")), served()
    for name, family in recorded.items():
        assert ours[name].kind == family.kind
        assert ours[name].label_names() == family.label_names()
    for name in ("boot_outcomes", "driver_operations", "instances_disappeared", "instances_price", "vcpus_total"):
        full = f"arvados_dispatchcloud_{name}"
        assert set(recorded[full].samples) == set(ours[full].samples)
