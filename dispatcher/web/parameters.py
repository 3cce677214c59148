"""What a request to act says, from its query or its form: refused with a reason when it cannot be meant as it stands.

A parameter that is there and empty is refused: a shell variable that was not set must never widen what an act is about.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime

from flask import request

from dispatcher.frozen import dataclass
from dispatcher.web.auth import FORM_KEY, viewer
from dispatcher.web.errors import Refused
from dispatcher.web.view import View

UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+", re.ASCII)
LONGEST_S = 366 * 86400.0
YES, NO = ("true", "1", "yes"), ("false", "0", "no")

SELECTORS = ("instance_type", "state", "idle_behavior")
OURS = (*SELECTORS, "preview", "expires")
KNOWN = ("instance_id", "reason", "actor", "api_token", "select", FORM_KEY, *OURS)  # upstream's client sends select


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who wants what, and why. ``until`` (UTC, RFC 3339) and ``until_s`` (our clock) are the end of a hold or drain."""

    act: str
    actor: str
    reason: str
    at: str
    until: str = ""
    until_s: float = math.inf
    preview: bool = False


def asked(act: str, view: View, *, of_a_form: bool = False) -> Asked:
    """``of_a_form``: a field that was left empty means nothing."""
    left_empty = of_a_form and not request.values.get("expires", "").strip()
    until, until_s = ("", math.inf) if left_empty else _end(act, view)
    return Asked(
        act=act, actor=actor(), reason=request.values.get("reason", ""), at=whole_seconds(view.utc()), until=until,
        until_s=until_s, preview=_flag("preview"),
    )  # fmt: skip


def several(name: str) -> tuple[str, ...]:
    """Every value that was given, each once."""
    given = request.values.getlist(name)
    if not all(given):
        raise Refused(400, f"{name} parameter not provided")
    return tuple(dict.fromkeys(given))


def one(name: str) -> str:
    found = several(name)
    if not found:
        raise Refused(400, f"{name} parameter not provided")
    if len(found) > 1:
        raise Refused(400, f"{name} can be given once only")
    return found[0]


def actor() -> str:
    """The token is shared: who asked is what they say, now or when they signed in, else where they asked from."""
    return request.values.get("actor", "").strip() or viewer().name or came_from()


def came_from() -> str:
    return request.remote_addr or "a local socket"


def is_plain() -> bool:
    """One instance and nothing that upstream does not know: such a request gets upstream's answer, which is empty."""
    return len(several("instance_id")) == 1 and not any(name in request.values for name in OURS) and not wants_json()


def wants_json() -> bool:
    return "application/json" in request.headers.get("Accept", "").lower()


def refuse_unknown(known: Iterable[str] = KNOWN) -> None:
    """A misspelt selector would be no selector, and the act would reach further than was meant."""
    strange = sorted(set(request.values) - set(known))
    if strange:
        raise Refused(400, f"unknown parameter: {', '.join(strange)[:200]}")


def is_preview() -> bool:
    """Also when the request is refused for something else."""
    return request.values.get("preview", NO[0]).lower() in YES


def _flag(name: str) -> bool:
    given = request.values.get(name, NO[0]).lower()
    if given not in YES + NO:
        raise Refused(400, f"{name} has to be true or false")
    return given in YES


# ----------------------------------------------------------------------------------------------------------------- the end


def _end(act: str, view: View) -> tuple[str, float]:
    """When the choice ends, as text and on our clock."""
    if "expires" not in request.values:
        return "", math.inf
    if act not in ("hold", "drain"):
        raise Refused(400, f"expires is for hold and drain: a {act} has no end")
    until_s = _until_s(one("expires").strip(), view)
    left_s = until_s - view.monotonic()
    if left_s <= 0:
        raise Refused(400, "expires is in the past")
    if left_s > LONGEST_S:
        raise Refused(400, f"expires is more than {LONGEST_S / 86400:.0f} days away: without it, there is no end")
    return whole_seconds(view.utc(until_s)), until_s


def _until_s(text: str, view: View) -> float:
    if DURATION.fullmatch(text):
        parts = re.findall(r"([\d.]+)([dhms])", text)
        return view.monotonic() + sum(float(number) * UNITS_S[unit] for number, unit in parts)
    try:
        date = datetime.fromisoformat(text)
        if date.tzinfo is not None:
            return view.monotonic(date.timestamp())
    except (ValueError, OverflowError):
        pass
    raise Refused(400, "expires has to be a duration like 2h or 1d12h, or a time like 2027-01-15T08:00:00Z (a + as %2B)")


def whole_seconds(text: str) -> str:
    """A time as tags hold it."""
    return re.sub(r"\.\d+", "", text)
