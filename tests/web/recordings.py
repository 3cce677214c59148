"""What the Arvados dispatcher answered in one recorded run, and how one of its answers is compared with ours.

Nothing recorded stands in this repository: the recordings are looked for beside it, or where ``ARVADOS_MANAGEMENT_API`` says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "ARVADOS_MANAGEMENT_API"
REPOSITORY = Path(__file__).resolve().parents[2]
BESIDE = REPOSITORY.parent / "shared" / "reference" / "upstream-samples" / "management-api.jsonl"
ACTS = ("/hold", "/drain", "/run", "/kill")


def location() -> Path:
    return Path(os.environ.get(VARIABLE) or BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One request and its answer. ``json`` is None when the answer was text, ``body`` then."""

    name: str
    path: str
    token: str
    status: int
    json: Any
    body: str

    @property
    def method(self) -> str:
        """It was not recorded: acts were posted, but for the one that shows what a GET is told."""
        acts = self.path.partition("?")[0].endswith(ACTS)
        return "POST" if acts and not self.name.endswith("-get") else "GET"


def load(path: Path) -> list[Recorded]:
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Recorded(
            name=one["name"], path=(one.get("request") or {"args": ["/" + one["name"]]})["args"][0],
            token=(one.get("request") or {}).get("token", "management"), status=one["status"], json=one.get("json"),
            body=one.get("body", ""),
        )
        for one in found
    ]  # fmt: skip


def differences(where: str, recorded: Any, ours: Any) -> Iterator[str]:
    """Keys that are missing and values of another type. Keys of ours, and ``[]`` for their null, are no difference."""
    if isinstance(recorded, dict) and isinstance(ours, dict):
        for key in sorted(recorded):
            if key not in ours:
                yield f"{where}: no {key}"
            else:
                yield from differences(f"{where}.{key}", recorded[key], ours[key])
    elif isinstance(recorded, list) and isinstance(ours, list):
        if recorded and ours:
            yield from differences(f"{where}[]", recorded[0], ours[0])
        elif recorded:
            yield f"{where}: empty"
    elif recorded is None and (ours is None or ours == []):
        return
    elif _kind(recorded) is not _kind(ours):
        yield f"{where}: {ours!r} instead of {recorded!r}"


def _kind(value: Any) -> type:
    """JSON has one kind of number."""
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
