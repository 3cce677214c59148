"""What a machine wrote, made fit to be shown: no control characters and no secret that we know of.

It stands between the instance and everything else: State, log, story and the record of the container only ever see what this
returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dispatcher.runtime.logs import in_headers
from dispatcher.secrecy import BLANK, TOKEN, Known

MOST_LINES, MOST_CHARACTERS = 50, 16_384
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


class Scrub:
    """Knows the secrets of this cluster; those of one act are named with it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known = Known(secrets)

    def __call__(self, text: str, *secrets: str) -> str:
        """All of it, over as many lines."""
        text = ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        text = TOKEN.sub(BLANK, CONTROLS.sub(" ", text))
        text = self._known.blank(in_headers(text), *secrets)
        return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def last_lines(text: str) -> str:
    """The end of it, however much an instance sends."""
    return "\n".join(text.splitlines()[-MOST_LINES:])[-MOST_CHARACTERS:].strip("\n")
