"""The ``runtime_status`` of a container that we cancel: what stands there already, and our reason, in one object.

The queue service replaces the whole object with each write, takes nothing but strings, and whoever reads it wants a page and no
book: all of it has at most ``MOST_BYTES``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

MOST_BYTES = 4096
ERROR_CHARACTERS = 1000
CUT = "\n[…]\n"


def merged(present: Mapping[str, object], error: str, detail: str) -> dict[str, str]:
    """Our ``error`` and ``errorDetail``, and everything else as it was; an error that stood there ends the detail."""
    kept = {key: value if isinstance(value, str) else json.dumps(value) for key, value in present.items()}
    before = "\n".join(part for part in (kept.pop("error", ""), kept.pop("errorDetail", "")) if part)
    said = "\n".join(part for part in (detail, f"before that: {before}" if before else "") if part)
    status = {"error": error[:ERROR_CHARACTERS] or "cancelled by the dispatcher", **({"errorDetail": said} if said else {})}
    return _bounded(status, kept)


def size(status: Mapping[str, str]) -> int:
    """In bytes, as it is sent."""
    return len(json.dumps(dict(status)))


def _bounded(status: dict[str, str], kept: dict[str, str]) -> dict[str, str]:
    """What stood there stays as long as it leaves half of the room to us; the longest goes first. Then the detail is cut."""
    while kept and size({"error": status["error"], **kept}) > MOST_BYTES // 2:
        kept.pop(max(kept, key=lambda key: len(kept[key])))
    whole = {**kept, **status}
    detail = whole.get("errorDetail", "")
    length = len(detail)
    while length > 0 and size(whole) > MOST_BYTES:
        length = min(length - 1, int(length * 0.9))
        whole["errorDetail"] = shortened(detail, length)
    return whole


def shortened(text: str, most: int) -> str:
    """The beginning, which says what happened where, and the end, which is the newest."""
    if len(text) <= most:
        return text
    head = most // 3
    tail = max(0, most - head - len(CUT))
    return text[:head] + CUT + text[len(text) - tail :] if tail else text[:most]
