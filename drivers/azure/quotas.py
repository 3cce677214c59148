"""How much of its quotas a subscription uses in a region: Azure's list, as usages of the contract. Pure.

Azure counts cores: by family, all spot machines in one, and all others of a region together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dispatcher.driver import Usage
from drivers.azure.answers import JSON, part, text

SPOT = "spot"
_NAMES = {"cores": "", "lowprioritycores": SPOT}


def plain(name: str) -> str:
    """Letters and digits alone: ``standardDSv5Family`` and ``Standard DSv5 Family`` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def usages(rows: Iterable[JSON]) -> tuple[Usage, ...]:
    """Those that are about cores."""
    return tuple(usage for row in rows if (usage := _usage(row)) is not None)


def _usage(row: JSON) -> Usage | None:
    name, used, limit = plain(text(part(row, "name").get("value"))), row.get("currentValue"), row.get("limit")
    if name not in _NAMES and not name.endswith("family"):
        return None
    if not isinstance(used, int | float) or not isinstance(limit, int | float):
        return None
    return Usage(group=_NAMES.get(name, name), used=float(used), limit=float(limit))
