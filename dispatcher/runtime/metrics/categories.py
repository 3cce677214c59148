"""How metrics sort an instance, in the words that every Arvados dispatcher uses. Pure."""

from __future__ import annotations

from dispatcher.core.model import IdleBehavior, Instance, Phase, ProcessPhase

_WORKER_STATES = {
    Phase.CREATING: "booting",
    Phase.BOOTING: "booting",
    Phase.UNKNOWN: "unknown",
    Phase.SHUTDOWN: "shutdown",
}


def running(instance: Instance) -> int:
    """How many runner processes are there, those that are being started included."""
    return sum(1 for process in instance.processes.values() if process.phase is not ProcessPhase.ENDED)


def category(instance: Instance) -> str:
    """The first that applies: in use, on hold, booting, unknown; what shuts down counts as idle."""
    if running(instance):
        return "inuse"
    if instance.idle_behavior is IdleBehavior.HOLD:
        return "hold"
    if instance.phase in (Phase.CREATING, Phase.BOOTING):
        return "booting"
    return "unknown" if instance.phase is Phase.UNKNOWN else "idle"


def worker_state(instance: Instance) -> str:
    """What it is doing: booting, unknown, idle, running or shutdown."""
    if instance.phase is Phase.READY:
        return "running" if running(instance) else "idle"
    return _WORKER_STATES[instance.phase]
