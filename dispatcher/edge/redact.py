"""What instances print, made fit for people: without control characters and without the secrets that we know.

An instance holds secrets (we sent them there), and what runs on it may print them. Its words go to logs, pages and containers'
records, so they pass through here first.
"""

from __future__ import annotations

from collections.abc import Iterable

from dispatcher.secrecy import BLANK, TOKEN, Known


class Redactor:
    """Blanks what was registered, and whatever has the form of a token."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known = Known(secrets)

    def blank(self, text: str, *more: str) -> str:
        """``more``: secrets that belong to this text alone."""
        return self._known.blank(TOKEN.sub(BLANK, text), *more)


def readable(text: str) -> str:
    """Several lines for people: no control characters but the line breaks, no blank lines at either end."""
    kept = "".join(c if c.isprintable() or c in "\n\t" else "" if c == "\r" else "?" for c in text)
    return kept.expandtabs(4).strip("\n")


def last_lines(text: str, *, lines: int, limit_bytes: int) -> str:
    """The end of a text: at most so many lines and bytes, and no half character."""
    kept = "\n".join(text.split("\n")[-lines:]).encode()
    return kept[-limit_bytes:].decode("utf-8", "ignore")
