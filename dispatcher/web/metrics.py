"""Metrics as text and as JSON, both from one collection of the registry.

The JSON is the one of the Arvados dispatcher: a list of families, each with its samples grouped by their labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Response, jsonify
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OF_THE_SAMPLE = ("quantile", "le")  # labels that belong to one sample and not to the series


def blueprint(registry: CollectorRegistry) -> Blueprint:
    made = Blueprint("metrics", __name__)

    @made.get("/metrics")
    def text() -> Response:
        return Response(generate_latest(registry), 200, content_type=TEXT)

    @made.get("/metrics.json")
    def json() -> Response:
        return jsonify(families(registry.collect()))

    return made


def families(collected: Iterable[Metric]) -> list[dict[str, Any]]:
    return [
        {"name": family.name, "help": family.documentation, "type": family.type.upper(), "metric": series(family)}
        for family in collected
    ]


def series(family: Metric) -> list[dict[str, Any]]:
    """One item per combination of labels."""
    grouped: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in family.samples:
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
    told = [sample for sample in samples if not sample.name.endswith("_created")]
    return {kind: {"value": number(told[0].value) if told else 0}}


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
