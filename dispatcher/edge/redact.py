"""What instances print, made fit for people: without control characters and without the secrets that we know.

An instance holds secrets (we sent them there), and what runs on it may print them. Its words go to logs, pages and containers'
records, so they pass through here first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

BLANK = "***"
SHORTEST_SECRET = 6  # shorter ones would blank ordinary words
TOKEN = re.compile(r"(v[12]/)?\b[0-9a-z]{5}-gj3su-[0-9a-z]{15}/[0-9A-Za-z]{6,}")  # whosoever's it is


class Redactor:
    """Blanks what was registered, the longest first, and whatever has the form of a token."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known = frozenset(_parts(secrets))
        self._pattern = _pattern(self._known)

    def blank(self, text: str, *more: str) -> str:
        """``more``: secrets that belong to this text alone."""
        extra = _parts(more)
        pattern = _pattern(self._known | extra) if extra - self._known else self._pattern
        text = TOKEN.sub(BLANK, text)
        return pattern.sub(BLANK, text) if pattern is not None else text


def _parts(secrets: Iterable[str]) -> frozenset[str]:
    """Of a token with slashes its last part too; of a key each line; nothing short."""
    found = set()
    for secret in secrets:
        for line in secret.splitlines():
            if "-----" not in line:
                found |= {line.strip(), line.strip().rpartition("/")[2]}
    return frozenset(part for part in found if len(part) >= SHORTEST_SECRET)


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(secrets, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def readable(text: str) -> str:
    """Several lines for people: no control characters but the line breaks, no blank lines at either end."""
    kept = "".join(c if c.isprintable() or c in "\n\t" else "" if c == "\r" else "?" for c in text)
    return kept.expandtabs(4).strip("\n")


def last_lines(text: str, *, lines: int, limit_bytes: int) -> str:
    """The end of a text: at most so many lines and bytes, and no half character."""
    kept = "\n".join(text.split("\n")[-lines:]).encode()
    return kept[-limit_bytes:].decode("utf-8", "ignore")
