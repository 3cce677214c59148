"""Addresses without the tokens in them: the value of every parameter that is named like a secret, however the name is written.

One rule for the log of requests, for gunicorn's own lines, and for what is shown of the requests that are being answered.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

TOKEN_NAME = re.compile(r"token|password|secret", re.IGNORECASE)
BLANK = "***"
TEXT_CHARACTERS = 2000

_NAME = re.compile(r"([^\s?&;=\"'/]+)=")
_VALUE = re.compile(r"[^&\s\"']*")


def blanked(text: str) -> str:
    """Any text that may hold an address. A value ends where the next parameter begins, and not before."""
    made, at = "", 0
    for found in _NAME.finditer(text):
        if found.start() >= at and TOKEN_NAME.search(unquote_plus(found[1])):
            value = _VALUE.match(text, found.end())
            made += text[at : found.end()] + BLANK
            at = value.end() if value is not None else found.end()
    return made + text[at:]


def blanked_query(query: str) -> str:
    """As much of a query as is shown."""
    return blanked(query)[:TEXT_CHARACTERS]
