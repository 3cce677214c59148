"""How many locks may be on their way. A 503 on a lock is the server's brake: fewer at once, after a pause that grows only when
it is pulled again; what was sent before it and is refused too is the same pull. Each success opens the window by one, and time
opens it as well, so that one bad second is over within a minute even where hardly anything is locked.
"""

from __future__ import annotations

from dispatcher.core.model import QueueView
from dispatcher.core.values import replace

LOCK_WINDOW = 16  # locks in flight at most
HOLD_FIRST_S, HOLD_LONGEST_S = 1.0, 30.0
OPEN_AGAIN_S = 60.0  # from the last 503 until the window is as wide as ever, whatever was locked meanwhile


def window(queue: QueueView, now: float) -> int:
    """How many locks may be in flight now."""
    quiet_s = now - queue.overloaded_s
    if quiet_s >= OPEN_AGAIN_S:
        return LOCK_WINDOW
    return min(LOCK_WINDOW, queue.lock_window + int(quiet_s * LOCK_WINDOW / OPEN_AGAIN_S))


def free(queue: QueueView, now: float) -> int:
    """How many more locks may be sent now."""
    return max(0, window(queue, now) - queue.locks_in_flight) if now >= queue.locks_held_until_s else 0


def succeeded(queue: QueueView, now: float) -> QueueView:
    return replace(_ended(queue), lock_window=min(LOCK_WINDOW, queue.lock_window + 1), lock_strikes=0)


def failed(queue: QueueView, now: float, *, overloaded: bool, sent_s: float) -> QueueView:
    """``sent_s``: when the lock was sent. Before the last 503, and a further one says nothing new."""
    queue = _ended(queue)
    if not overloaded or sent_s < queue.overloaded_s:
        return queue
    strikes = queue.lock_strikes + 1
    pause_s = min(HOLD_LONGEST_S, HOLD_FIRST_S * 2.0 ** min(strikes - 1, 16))
    return replace(
        queue, lock_strikes=strikes, lock_window=max(1, window(queue, now) // 2), overloaded_s=now,
        locks_held_until_s=now + pause_s,
    )  # fmt: skip


def _ended(queue: QueueView) -> QueueView:
    return replace(queue, locks_in_flight=max(0, queue.locks_in_flight - 1))
