"""From a World to Prometheus: scrapes in virtual time become the input series of ``promtool test rules``.

The dispatcher's own collector is asked, as a scrape does it; nothing is written by hand. promtool's clock begins at 0, so that
times of day are moved there.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from dispatcher.meters import catalogue as c
from dispatcher.meters.instruments import number
from dispatcher.runtime.metrics.collector import Surroundings
from dispatcher.simulation.queue import EPOCH
from dispatcher.simulation.world import Dispatcher, World
from tests.needs import needs_command

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "docs/monitoring/cloud-dispatcher.rules.yml"
JOB = "cloud-dispatcher"
EVALUATION_S = 60  # of the group in the file of rules
STEP_S = 15.0
PIECE_S = 3600
UNIX_TIMES = (c.WALL_CLOCK.name, c.LAST_503.name, c.CONFIG_LOADED.name)
METRIC = re.compile(r"\b(?:arvados_\w+|request_duration_seconds\w*|time_to_status_seconds\w*)\b")

Labels = tuple[tuple[str, str], ...]


def named_metrics(text: str) -> set[str]:
    """Every metric that a piece of PromQL, or a file of it, names."""
    return set(METRIC.findall(text))


@dataclass(slots=True)
class Scraper:
    """Scrapes the dispatchers of a World each ``step_s``, only what rules ask for. ``hosts``: dispatcher → name of its host;
    those that are not named are on ``a``. ``around`` changes what the process says of itself."""

    world: World
    wanted: frozenset[str] = field(default_factory=lambda: frozenset(named_metrics(RULES.read_text(encoding="utf-8"))))
    step_s: float = STEP_S
    hosts: dict[str, str] = field(default_factory=dict)
    around: Surroundings | None = None
    series: dict[tuple[str, Labels], list[str]] = field(default_factory=dict)
    count: int = 0

    def run(self, for_s: float) -> None:
        """Let time pass, and scrape."""
        end_s = self.world.clock.now_s + for_s
        while self.world.clock.now_s < end_s:
            due_s = self.count * self.step_s
            self.world.run(max(0.0, min(due_s, end_s) - self.world.clock.now_s))
            if due_s <= end_s:
                self._scrape()

    def _scrape(self) -> None:
        seen: set[tuple[str, Labels]] = set()
        for dispatcher in self.world.dispatchers:
            if dispatcher.alive:
                host = self.hosts.get(dispatcher.name, "a")
                for key, value in self._told(dispatcher, host):
                    values = self.series.setdefault(key, ["_"] * self.count)
                    values.append(value)
                    seen.add(key)
        for key, values in self.series.items():
            if key not in seen:  # Prometheus notes at once that a target does not tell it any more
                values.append("_" if values[-1] in ("_", "stale") else "stale")
        self.count += 1

    def _told(self, dispatcher: Dispatcher, host: str) -> Iterator[tuple[tuple[str, Labels], str]]:
        around = self._surroundings(dispatcher)
        for family in dispatcher.metrics.collect(dispatcher.store.snapshot, around):
            for sample in family.samples:
                if sample.name in self.wanted:
                    value = sample.value - EPOCH if sample.name in UNIX_TIMES else sample.value
                    labels = {"job": JOB, "instance": f"{host}:9006", **sample.labels}
                    yield (sample.name, tuple(sorted(labels.items()))), number(float(value))

    def _surroundings(self, dispatcher: Dispatcher) -> Surroundings:
        own = dispatcher.surroundings()
        if self.around is None:
            return own
        told = {"troubles": self.around.troubles, "audit_failures": self.around.audit_failures, "given_up": self.around.given_up}
        return replace(own, bugs={**own.bugs, **self.around.bugs}, **told)

    def input_series(self) -> list[str]:
        """As lines of promtool's file: runs of the same value are written short."""
        lines: list[str] = []
        for (name, labels), values in sorted(self.series.items()):
            inside = ",".join(f'{label}="{value}"' for label, value in labels)
            lines.append(f"  - series: '{name}{{{inside}}}'")
            lines.append(f"    values: '{' '.join(_runs(values))}'")
        return lines


def _runs(values: Sequence[str]) -> Iterator[str]:
    """``5 5 5`` is ``5x2``."""
    start = 0
    for index in range(1, len(values) + 1):
        if index == len(values) or values[index] != values[start]:
            many = index - start - 1
            if many and values[start] not in ("stale", "NaN"):
                yield f"_x{many + 1}" if values[start] == "_" else f"{values[start]}x{many}"
            else:
                yield " ".join(values[start:index])
            start = index


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An expression, when it is asked, and what it has to answer: labels → value."""

    at_s: float
    expression: str
    answer: Mapping[str, float] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        yield f"  - expr: {json.dumps(self.expression)}"
        yield f"    eval_time: {math.floor(self.at_s)}s"
        yield "    exp_samples:" if self.answer else "    exp_samples: []"
        for labels, value in self.answer.items():
            yield f"    - {{labels: '{labels}', value: {value:g}}}"


def rules() -> dict[str, dict[str, Any]]:
    """Alert → its rule."""
    return {rule["alert"]: rule for rule in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]}


def promtool(folder: Path, scraper: Scraper, questions: Iterable[Question], *, load: bool = True) -> str:
    """What ``promtool test rules`` complains about; empty when every answer was right. ``load``: the rules run meanwhile."""
    command = needs_command("promtool", package="prometheus", service="prometheus")
    asked = [line for question in questions for line in question.lines()]
    text = [
        f"rule_files: [{RULES if load else ''}]", f"evaluation_interval: {EVALUATION_S}s", "tests:",
        f"- interval: {scraper.step_s:g}s", "  input_series:", *scraper.input_series(), "  promql_expr_test:", *asked,
    ]  # fmt: skip
    file = folder / "incident.yml"
    file.write_text("\n".join(text) + "\n", encoding="utf-8")
    done = subprocess.run([command, "test", "rules", str(file)], capture_output=True, text=True, check=False, timeout=240)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def fires(alert: str, at_s: float) -> Question:
    """This alert fires then, for whatever labels."""
    return Question(at_s=at_s, expression=f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0', answer={"{}": 1})


def never(rule: Mapping[str, Any], until_s: float) -> Iterator[Question]:
    """Its condition did not hold at any evaluation since the beginning. Much cheaper than to let the rules run for days; piece by
    piece, since promtool holds 10,000 samples at once."""
    steps = f"[{PIECE_S}s:{EVALUATION_S}s]"
    for end_s in range(PIECE_S, math.ceil(until_s) + PIECE_S, PIECE_S):
        yield Question(at_s=end_s, expression=f"count_over_time(({' '.join(rule['expr'].split())}){steps})")


def silent(until_s: float, for_s: float, *, but: Iterable[str] = ()) -> Question:
    """No alert fired in this time, others than these."""
    others = "|".join(but) or "none"
    chosen = f'ALERTS{{alertstate="firing",alertname!~"{others}"}}'
    return Question(at_s=until_s, expression=f"count by (alertname) (count_over_time({chosen}[{math.floor(for_s)}s]))")
