"""The text of ``/metrics``, read as a Prometheus server would, but with every name as it stands there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_SUFFIXES = {"summary": ("_sum", "_count"), "histogram": ("_bucket", "_sum", "_count")}

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Family:
    """One series as served. ``samples``: (name, labels in order of their names) → value."""

    name: str
    kind: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def label_names(self) -> set[tuple[str, ...]]:
        """Of every sample that carries the series' own labels alone."""
        own = (labels for (_, labels) in self.samples)
        return {tuple(name for name, _ in labels if name not in ("quantile", "le")) for labels in own}


class Page(dict[str, Family]):
    """Name in the TYPE line → family."""

    def value(self, name: str, **labels: str) -> float:
        family = next(f for f in self.values() if name in {f.name, *(f.name + end for end in _SUFFIXES.get(f.kind, ()))})
        return family.samples[name, tuple(sorted(labels.items()))]

    def dispatch(self, name: str, **labels: str) -> float:
        return self.value(f"arvados_dispatchcloud_{name}", **labels)

    def of(self, name: str, *by: str) -> dict[tuple[str, ...] | str, float]:
        """Values that are not 0, by these labels."""
        found = {}
        for (_, labels), value in self[f"arvados_dispatchcloud_{name}"].samples.items():
            if value:
                key = tuple(dict(labels)[each] for each in by)
                found[key[0] if len(by) == 1 else key] = value
        return found


def read(text: str) -> Page:
    """Fails on a line that is none, on a sample outside its family, and on one that is served twice."""
    page, family = Page(), Family("", "")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in page, f"{name} has two TYPE lines"
            family = page[name] = Family(name, kind)
            continue
        found = _SAMPLE.match(line)
        assert found is not None, f"no sample: {line!r}"
        _take(family, *found.groups())
    return page


def _take(family: Family, name: str, labels: str | None, value: str) -> None:
    allowed = _SUFFIXES.get(family.kind, ())
    assert name == family.name or name in [family.name + end for end in allowed], f"{name} stands below {family.name}"
    assert not (name == family.name and family.kind == "histogram"), f"{name} is a histogram"
    key = (name, tuple(sorted(_LABEL.findall(labels or ""))))
    assert key not in family.samples, f"{key} is served twice"
    family.samples[key] = float(value)
