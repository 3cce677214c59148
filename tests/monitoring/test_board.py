"""The board and the rules name only what is served: every metric of the catalogue, with its labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from dispatcher.meters import board
from dispatcher.meters.catalogue import SERIES
from dispatcher.meters.series import Kind, Series
from tests.monitoring.prometheus import ROOT, named_metrics, rules

ENDS = {Kind.SUMMARY: ("_sum", "_count"), Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
AROUND = {"job", "instance", "quantile", "le"}  # labels of Prometheus, and of single samples
SELECTED = re.compile(r"\b(arvados_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"\bby \(([^)]*)\)")


def known() -> dict[str, Series]:
    """Every name under which a sample is served → its series."""
    return {series.name + end: series for series in SERIES for end in ("", *ENDS.get(series.kind, ()))}


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL), of rules and board."""
    for alert, rule in rules().items():
        yield alert, rule["expr"]
    for panel in board.board()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_is_served_with_these_labels(where: str, expression: str) -> None:
    """A metric that was renamed, or a label that is none, would never fire and never be drawn."""
    served, named = known(), named_metrics(expression)
    assert named, where
    assert named <= set(served)
    labels = set(AROUND).union(*(served[name].labels for name in named))
    for name, inside in SELECTED.findall(expression):
        chosen = set(re.findall(r"(\w+)\s*[=!]~?\s*\"", inside))
        assert chosen <= AROUND.union(served[name].labels), f"{where}: {name}"
    grouped = {label.strip() for group in GROUPED.findall(expression) for label in group.split(",")}
    assert grouped <= labels, where


@pytest.mark.parametrize(("alert", "rule"), list(rules().items()))
def test_a_rule_says_truly_where_it_works(alert: str, rule: dict) -> None:
    """Sites that run both dispatchers have to know which alerts the other one can never give."""
    everywhere = {name for name, series in known().items() if series.upstream}
    named = named_metrics(rule["expr"]) - {"arvados_dispatchcloud_leading", "arvados_dispatchcloud_cloud_list_age_seconds"}
    assert (rule["labels"]["works_on"] == "any") == (bool(named) and named <= everywhere), alert
    assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_the_board_is_one_that_grafana_imports() -> None:
    """Ids are its own, panels do not overlap, every one has a question, and what is on disk is what the table says."""
    made = json.loads((ROOT / "docs/monitoring/grafana.json").read_text(encoding="utf-8"))
    assert made == board.board()
    panels = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    assert all(panel["description"] and panel["targets"] for panel in panels)
    taken = [(x, y) for panel in made["panels"] for x in _span(panel, "x", "w") for y in _span(panel, "y", "h")]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < board.COLUMNS


def _span(panel: dict, start: str, size: str) -> range:
    return range(panel["gridPos"][start], panel["gridPos"][start] + panel["gridPos"][size])
