"""Blanking what must never be shown: the secrets that we know, and whatever has the form of a token.

It stands alone on the standard library, because the edge, where words arrive, and the runtime, where they are written down, both
need it and may not know of each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

BLANK = "***"
SHORTEST_SECRET = 6  # shorter ones would blank ordinary words
TOKEN = re.compile(r"(v[12]/)?\b[0-9a-z]{5}-gj3su-[0-9a-z]{15}/[0-9A-Za-z]+")  # whosoever's it is


class Known:
    """The secrets that were registered. Safe to ask from many threads while one registers more."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._parts: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.register(*secrets)

    def register(self, *secrets: str) -> None:
        self._parts |= _parts(secrets)
        self._pattern = _pattern(self._parts)

    def blank(self, text: str, *more: str) -> str:
        """The longest are blanked first. ``more``: secrets that belong to this text alone."""
        extra = _parts(more) - self._parts if more else frozenset()
        if not any(part in text for part in (*self._parts, *extra)):
            return text  # to look for each takes less than the pattern would
        pattern = _pattern(self._parts | extra) if extra else self._pattern
        return pattern.sub(BLANK, text) if pattern is not None else text


def _parts(secrets: Iterable[str]) -> frozenset[str]:
    """Of a token with slashes its last part too; of a key each line, but for its head and foot; nothing short."""
    lines = [line.strip() for secret in secrets for line in secret.splitlines() if "-----" not in line]
    return frozenset(part for line in lines for part in (line, line.rpartition("/")[2]) if len(part) >= SHORTEST_SECRET)


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(secrets, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None
