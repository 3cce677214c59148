"""The overview of our dispatcher as a standing. Pure, and forgiving: what is missing or strange there is left out here."""

from __future__ import annotations

from typing import Any

from dispatcher.cli.operate.dispatchers import Record
from dispatcher.cli.operate.standing import LEVELS, Standing


def from_overview(place: str, overview: Record, now_s: float) -> Standing:
    verdict = _mapping(overview.get("verdict"))
    level = str(verdict.get("level") or "")
    return Standing(
        level=level if level in LEVELS else "unknown", cause=str(verdict.get("cause") or ""), text=str(verdict.get("text") or ""),
        place=place,
    )  # fmt: skip


def _mapping(found: Any) -> Record:
    return found if isinstance(found, dict) else {}
