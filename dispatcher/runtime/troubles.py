"""What the process itself met, as factors of the verdict: State knows nothing of it. Pure.

A loop that hangs stops everything; what is worked around is said and limits nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dispatcher.core.verdict import Factor
from dispatcher.runtime.health import LATE_S

WORKED_AROUND = {
    "audit log": ("disk-full", "degraded"),
    "configuration": ("reload-refused", "degraded"),
    "hints": ("state-folder", "degraded"),
    "state folder": ("state-folder", "degraded"),
}
"""What is worked around → its cause and level."""


def factors(
    ages_s: Mapping[str, float], worked_around: Mapping[str, str], bugs: Sequence[str] = (), given_up: int = 0
) -> Iterator[Factor]:
    """``ages_s``: loop → seconds since its last beat; ``worked_around``: see above → what exactly, or nothing; ``bugs``: in
    words; ``given_up``: calls that did not come back."""
    late = [f"{loop} ({age_s:.0f} s)" for loop, age_s in sorted(ages_s.items()) if age_s > LATE_S]
    if late:
        text = f"no sign of life from {', '.join(late)}: restart the dispatcher, what runs goes on"
        yield Factor(cause="loop-stuck", text=text, level="stopped")
    for what, text in worked_around.items():
        if text:
            cause, level = WORKED_AROUND.get(what, ("state-folder", "degraded"))
            yield Factor(cause=cause, text=text, level=level)
    if bugs:
        yield Factor(cause="bugs", text=f"{bugs[0]}; please report it, with the log", level="busy")
    if given_up:
        text = f"{given_up} calls did not come back within their time and were given up"
        yield Factor(cause="calls-given-up", text=text, level="busy")
