"""The Grafana board ``docs/monitoring/grafana.json``, made from one table of panels: what an operator asks, in order.

Every query names series of the catalogue. A panel whose series every Arvados dispatcher has says so, for sites that run both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from dispatcher.frozen import dataclass
from dispatcher.meters.catalogue import SERIES

PREFIX = "arvados_dispatchcloud_"
CHOSEN = 'job=~"$job",instance=~"$instance"'
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
NAMES = re.compile(rf"{PREFIX}\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """``queries``: (expression, legend); ``@name{…}`` in an expression is a series of ours, of the chosen dispatchers."""

    title: str
    asks: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stack: bool = False


def _rate(name: str, by: str, window: str = "5m") -> tuple[str, str]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return f"sum by ({by}) (rate(@{name}[{window}]))", legend


def _quantile(share: float, name: str) -> tuple[str, str]:
    return f"histogram_quantile({share}, sum by (le) (rate(@{name}_bucket[15m])))", f"p{share * 100:g}"


def _of(name: str, by: str) -> tuple[str, str]:
    return f"sum by ({by}) (@{name})", f"{{{{{by}}}}}"


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    ("Is it well, and what limits it?", (
        Panel(title="Verdict", asks="What limits it now; the page says it in words.", kind="stat", width=8,
              queries=(("max by (level, cause) (@verdict) == 1", "{{level}}: {{cause}}"),)),
        Panel(title="Leads", asks="1 on exactly one dispatcher.", kind="stat", width=4,
              queries=(("max by (instance) (@leading)", "{{instance}}"),)),
        Panel(title="Longest wait", asks="Of a wanted container that has not been started.", kind="stat", unit="s", width=4,
              queries=(("max(@containers_longest_runnable_wait_seconds)", "wait"),)),
        Panel(title="Price per hour", asks="Of all instances.", kind="stat", unit="short", width=4,
              queries=(("sum(@instances_price)", "per hour"),)),
        Panel(title="Instances", asks="All that exist or are being asked for.", kind="stat", width=4,
              queries=(("sum(@instances_total)", "instances"),)),
    )),
    ("The queue", (
        Panel(title="Containers by state", asks="Those that are known here.", stack=True,
              queries=(_of("queue_entries", "state"),)),
        Panel(title="Who waits, by reason", asks="What the waiting containers wait for.", stack=True,
              queries=(_of("containers_waiting", "cause"),)),
        Panel(title="Longest waits", asks="Since it was created, and since it was wanted.", unit="s", queries=(
            ("max(@containers_longest_wait_time_seconds)", "since created"),
            ("max(@containers_longest_runnable_wait_seconds)", "since wanted"))),
        Panel(title="From wanted to started", asks="How long containers waited for us.", unit="s", queries=(
            _quantile(0.5, "containers_time_from_runnable_to_started_seconds"),
            _quantile(0.95, "containers_time_from_runnable_to_started_seconds"))),
        Panel(title="Shut out, and allocated", asks="Who has no place because of a limit, and who waits for a boot.", queries=(
            ("sum(@containers_not_allocated_over_quota)", "over quota"),
            ("sum(@containers_allocated_not_started)", "allocated"), ("sum(@containers_running)", "running"))),
        Panel(title="The API", asks="Requests by status, and how old the last look at the queue is.", queries=(
            _rate("queue_requests_total", "operation, status"), ("max(@queue_poll_age_seconds)", "poll age, s"))),
    )),
    ("The fleet", (
        Panel(title="Instances by category", asks="In use, idle, booting, on hold, unknown.", stack=True,
              queries=(_of("instances_total", "category"),)),
        Panel(title="Instances by type", asks="Which machines there are.", stack=True,
              queries=(_of("instances_total", "instance_type"),)),
        Panel(title="Longest in a state that ought to pass", asks="Stuck creates, boots and destroys.", unit="s",
              queries=(("max by (state) (@instances_longest_in_state_seconds)", "{{state}}"),)),
        Panel(title="How boots end", asks="Per five minutes.", queries=(
            ("sum by (outcome) (increase(@boot_outcomes[5m]))", "{{outcome}}"),)),
        Panel(title="Boot times", asks="Until SSH answered, and from there until ready.", unit="s", queries=(
            ("max(@instances_time_to_ssh_seconds{quantile=\"0.95\"})", "to SSH, p95"),
            ("max(@instances_time_to_ready_for_container_seconds{quantile=\"0.95\"})", "to ready, p95"))),
        Panel(title="Who goes, and why", asks="Destroys by cause, and what went by itself.", queries=(
            ("sum by (cause) (increase(@instances_destroyed_total[5m]))", "{{cause}}"),
            ("sum(increase(@instances_unexpected_shutdowns_total[5m]))", "by itself"))),
        Panel(title="Suspects", asks="What needs a person sooner or later.", queries=(
            ("sum(@leftovers)", "leftovers"), ("sum(@instances_guarded)", "kept by the destroy guard"),
            ("sum(@runners_unkillable)", "unkillable runners"), ("sum(@instances_held)", "on hold"),
            ("sum(@queue_records_rejected)", "records not understood"))),
        Panel(title="Attempts that failed, containers lost", asks="Per five minutes.", queries=(
            ("sum(increase(@container_attempts_failed_total[5m]))", "attempts failed"),
            ("sum(increase(@containers_lost_total[5m]))", "containers lost"),
            ("sum by (outcome) (increase(@container_starts_total[5m]))", "start {{outcome}}"))),
    )),
    ("The cloud", (
        Panel(title="Calls", asks="By kind and outcome.", queries=(_rate("cloud_calls_total", "operation, outcome"),)),
        Panel(title="Calls that failed", asks="On every Arvados dispatcher.", queries=(
            ("sum by (operation) (rate(@driver_operations{error=\"1\"}[5m]))", "{{operation}}"),)),
        Panel(title="Hold-offs", asks="What is not asked for, and for how long.", queries=(
            ("sum by (call, kind) (@holdoffs) > 0", "{{call}} {{kind}}"), ("max(@at_quota)", "at quota"))),
        Panel(title="Hold-offs end in", asks="The longest of each kind of call.", unit="s",
              queries=(("max by (call) (@holdoff_remaining_seconds)", "{{call}}"),)),
        Panel(title="What the cloud says of its limits", asks="Calls left, quotas and their use.", queries=(
            ("min by (call) (@cloud_calls_left)", "{{call}} left"), ("max by (call) (@cloud_quota_limit)", "{{call}} limit"),
            ("max by (call) (@cloud_quota_usage)", "{{call}} usage"))),
        Panel(title="Age of the list of instances", asks="Since the last complete one.", unit="s",
              queries=(("max(@cloud_list_age_seconds)", "age"),)),
    )),
    ("Money", (
        Panel(title="Price per hour by category", asks="What is paid for work, and what for waiting.", stack=True,
              queries=(_of("instances_price", "category"),)),
        Panel(title="Idle share", asks="Of the price: what neither runs containers nor boots.", unit="percentunit", queries=(
            ("sum(@instances_price{category=~\"idle|hold|unknown\"}) / sum(@instances_price)", "idle, hold, unknown"),)),
        Panel(title="Spent today", asks="And the limits; 0 is none.", queries=(
            ("max(@spent_today)", "today"), ("max by (per) (@price_limit)", "limit per {{per}}"),
            ("max(@instances_held_price)", "held, per hour"))),
        Panel(title="Cost by instance type", asks="Per hour, as it was spent.", stack=True,
              queries=(("3600 * sum by (instance_type) (rate(@instances_cost_total[15m]))", "{{instance_type}}"),)),
    )),
    ("The instances, seen over SSH", (
        Panel(title="Age of the last good answer", asks="Of the oldest instance, and of the middle one.", unit="s", queries=(
            ("max(@probe_age_seconds_max)", "oldest"), ("max(@probe_age_seconds_median)", "median"))),
        Panel(title="Probes that failed", asks="By class; usual while an instance boots.", queries=(
            ("sum by (class, booted) (rate(@ssh_failures_total[5m]))", "{{class}} booted={{booted}}"),)),
        Panel(title="Duration of a probe", asks="Of booted instances.", unit="s", queries=(
            ("max by (outcome) (@instances_run_probe_duration_seconds{quantile=\"0.95\"})", "{{outcome}}, p95"),)),
    )),
    ("The dispatcher itself", (
        Panel(title="Loops: last sign of life", asks="Beyond 60 s it hangs.", unit="s",
              queries=(("max by (loop) (@loop_beat_age_seconds)", "{{loop}}"),)),
        Panel(title="Loops: duration of a turn", asks="p99.", unit="s", queries=(
            ("histogram_quantile(0.99, sum by (le, loop) (rate(@loop_pass_duration_seconds_bucket[5m])))", "{{loop}}"),)),
        Panel(title="Acts that wait for a thread", asks="By lane.", queries=(("max by (lane) (@lane_waiting)", "{{lane}}"),)),
        Panel(title="Acts that failed", asks="By kind.", queries=(
            ("sum by (act) (rate(@acts_total{outcome=\"failed\"}[5m])) > 0", "{{act}}"),)),
        Panel(title="Bugs, hung calls, audit", asks="All of these ought to be 0.", queries=(
            ("sum by (where) (increase(@bugs_total[5m])) > 0", "bug: {{where}}"), ("sum(increase(@calls_given_up_total[5m]))",
             "calls given up"), ("sum(increase(@audit_failures_total[5m]))", "audit entries not written"),
            ("max by (what) (@trouble) > 0", "trouble: {{what}}"))),
        Panel(title="Locks", asks="How many at once, and what was refused.", queries=(
            ("max(@lock_window)", "window"), ("sum by (status) (increase(@lock_failures_total[5m]))", "refused: {{status}}"))),
    )),
)  # fmt: skip


def expression(query: str) -> str:
    """With the full names, and of the chosen dispatchers alone."""
    query = re.sub(r"@(\w+)\{", rf"{PREFIX}\1{{{CHOSEN},", query)
    return re.sub(r"@(\w+)", rf"{PREFIX}\1{{{CHOSEN}}}", query)


def board() -> dict[str, Any]:
    return {
        "uid": "cloud-dispatcher", "title": "Cloud Dispatcher", "tags": ["arvados"], "schemaVersion": 38, "version": 1,
        "editable": True, "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "timezone": "browser",
        "annotations": {"list": [_alerts()]}, "templating": {"list": [_datasource(), _choice("job"), _choice("instance")]},
        "panels": list(_panels()),
    }  # fmt: skip


def board_page() -> str:
    return json.dumps(board(), indent=1, ensure_ascii=False) + "\n"


def _alerts() -> dict[str, Any]:
    return {
        "name": "Alerts", "datasource": DATASOURCE, "enable": True, "iconColor": "red", "titleFormat": "{{alertname}}",
        "expr": 'ALERTS{alertname=~"CloudDispatcher.*",alertstate="firing"}',
    }  # fmt: skip


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _choice(label: str) -> dict[str, Any]:
    return {
        "name": label, "type": "query", "datasource": DATASOURCE, "refresh": 2, "includeAll": True, "multi": True,
        "query": f"label_values({PREFIX}vcpus_total, {label})", "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for title, panels in ROWS:
        number += 1
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": _place(0, y, COLUMNS, 1)}
        y, x = y + 1, 0
        height = 4 if panels[0].kind == "stat" else 8
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + height
            number += 1
            yield {"id": number, "gridPos": _place(x, y, panel.width, height), **_panel(panel)}
            x += panel.width
        y += height


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": DATASOURCE, "expr": expression(query), "legendFormat": legend}
        for index, (query, legend) in enumerate(panel.queries)
    ]
    made: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.stack:
        made["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 40}
    options = {"textMode": "value_and_name"} if panel.kind == "stat" else {"tooltip": {"mode": "multi", "sort": "desc"}}
    return {
        "type": panel.kind, "title": panel.title, "description": _description(panel), "datasource": DATASOURCE,
        "fieldConfig": {"defaults": made, "overrides": []}, "options": options, "targets": targets,
    }  # fmt: skip


def _description(panel: Panel) -> str:
    everywhere = {series.name for series in SERIES if series.upstream}
    named = {name for query, _ in panel.queries for name in NAMES.findall(expression(query))}
    return panel.asks + (" Works on the Go dispatcher too." if named <= everywhere else "")
