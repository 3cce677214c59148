"""What the process met itself, as factors of the verdict; and the watch on the wall clock."""

from __future__ import annotations

from dispatcher.core.messages import ClockJumped
from dispatcher.core.transitions import observe
from dispatcher.core.verdict import verdict
from dispatcher.runtime.clock_watch import ClockWatch
from dispatcher.runtime.narrate import narrate
from dispatcher.runtime.troubles import WORKED_AROUND, factors
from dispatcher.simulation.world import VirtualClock
from tests.core.build import NOW, state


def test_a_loop_that_hangs_stops_everything():
    """It is named, with the time since its last sign of life."""
    [told] = factors({"prober": 3.0, "scheduler": 400.0}, {})
    assert (told.cause, told.level) == ("loop-stuck", "stopped")
    assert "scheduler (400 s)" in told.text


def test_what_is_worked_around_is_said():
    """Each by its own cause; what is well is not named."""
    told = list(factors({}, {"audit log": "AuditLog: the disk is full", "hints": "", "configuration": "line 3"}, ["1 bug"], 2))
    assert [(f.cause, f.level) for f in told] == [
        ("disk-full", "degraded"), ("reload-refused", "degraded"), ("bugs", "busy"), ("calls-given-up", "busy")
    ]  # fmt: skip
    assert {cause for cause, _ in WORKED_AROUND.values()} == {"disk-full", "reload-refused", "state-folder"}


def test_a_clock_that_is_put_right_is_noticed_once():
    """What passes on both clocks is no jump, nor is what steering adds."""
    clock, posted = VirtualClock(), []
    watch = ClockWatch(clock, posted.append)
    for now_s, offset_s in ((5.0, 0.0), (10.0, 0.01), (15.0, -300.0), (20.0, -300.0), (25.0, 3300.0)):
        clock.now_s, clock.wall_offset_s = now_s, offset_s
        watch.tick()
    assert [round(event.by_s) for event in posted] == [-300, 3600]
    assert all(isinstance(event, ClockJumped) for event in posted)


def test_a_jump_of_the_clock_is_told_and_kept():
    """The log says it once; the verdict for a while."""
    before, jumped = state(), ClockJumped(by_s=-60.0)
    after = observe(before, jumped, NOW)
    assert after.setbacks.clock.by_s == -60.0
    [told] = narrate(before, after, jumped, NOW)
    assert told.text.startswith("the wall clock of this host was put back by 60 s")
    assert verdict(after, NOW + 5).cause == "clock-jump"
