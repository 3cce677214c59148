"""Metrics as text and as JSON, both from one collection of what the view and the web layer itself have.

The text is written here and not by prometheus_client, which would rename counters: boards ask for the names as they are. The
JSON is the one of the Arvados dispatcher: a list of families, each with its samples grouped by their labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from flask import Blueprint, Response, jsonify
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from dispatcher.meters.instruments import number as written

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OF_THE_SAMPLE = ("quantile", "le")  # labels that belong to one sample and not to the series


class Source(Protocol):
    """Somebody who has metrics: a registry, or one collector."""

    def collect(self) -> Iterable[Metric]: ...


def blueprint(*sources: Source) -> Blueprint:
    made = Blueprint("metrics", __name__)

    def collected() -> list[Metric]:
        found = [family for source in sources for family in source.collect()]
        return sorted(found, key=lambda family: family.name)

    @made.get("/metrics")
    def text() -> Response:
        return Response("".join(lines(collected())), 200, content_type=TEXT)

    @made.get("/metrics.json")
    def json() -> Response:
        return jsonify(families(collected()))

    return made


def lines(collected: Iterable[Metric]) -> Iterator[str]:
    """The text format. A family is named as its samples are, also when it is a counter."""
    for family in collected:
        name = _name(family)
        kind = family.type if family.type in ("gauge", "counter", "summary", "histogram") else "untyped"
        yield f"# HELP {name} {_escaped(family.documentation)}\n# TYPE {name} {kind}\n"
        for sample in _told(family):
            yield f"{sample.name}{_labels(sample.labels)} {written(float(sample.value))}\n"


def _name(family: Metric) -> str:
    """Libraries that rename counters put the suffix behind their samples alone."""
    named = {sample.name for sample in _told(family)}
    return f"{family.name}_total" if named == {f"{family.name}_total"} else family.name


def _told(family: Metric) -> list[Sample]:
    """When a series was made is no series of its own."""
    return [sample for sample in family.samples if sample.name != f"{family.name}_created"]


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    each = (f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels.items())
    return "{" + ",".join(each) + "}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def families(collected: Iterable[Metric]) -> list[dict[str, Any]]:
    return [
        {"name": _name(family), "help": family.documentation, "type": family.type.upper(), "metric": series(family)}
        for family in collected
    ]


def series(family: Metric) -> list[dict[str, Any]]:
    """One item per combination of labels."""
    grouped: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in _told(family):
        labels = tuple((name, value) for name, value in sample.labels.items() if name not in OF_THE_SAMPLE)
        grouped.setdefault(labels, []).append(sample)
    return [
        {"label": [{"name": name, "value": value} for name, value in labels], **values(family, samples)}
        for labels, samples in grouped.items()
    ]


def values(family: Metric, samples: list[Sample]) -> dict[str, Any]:
    if family.type == "summary":
        return {"summary": {**_totals(samples), "quantile": _steps(samples, "quantile", "value")}}
    if family.type in ("histogram", "gaugehistogram"):
        return {"histogram": {**_totals(samples), "bucket": _steps(samples, "le", "cumulative_count")}}
    kind = family.type if family.type in ("gauge", "counter") else "untyped"
    return {kind: {"value": number(samples[0].value)}}


def _totals(samples: list[Sample]) -> dict[str, Any]:
    by_end = {sample.name.rsplit("_", 1)[-1]: sample.value for sample in samples}
    return {"sample_count": number(by_end.get("count", 0)), "sample_sum": number(by_end.get("sum", 0))}


def _steps(samples: list[Sample], label: str, value: str) -> list[dict[str, Any]]:
    steps = [sample for sample in samples if label in sample.labels]
    return [{label: sample.labels[label], value: number(sample.value)} for sample in steps]


def number(value: float) -> float | str:
    """JSON has no word for NaN and the infinities: they are text, as in the text form."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"
