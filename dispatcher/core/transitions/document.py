"""``docs/states.md``, made from the tables that the code obeys: what is legal, what guards it, and what may break the rule.

A page that is written by hand would be wrong within a month; a test fails while this one is stale.
"""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.core.model import ContainerState, DestroyCause, IdleBehavior, Phase, ProcessPhase, QueueWrite
from dispatcher.core.transitions.cloud import GUARD_WINDOW_S
from dispatcher.core.transitions.legal import GUARD_LEAST, GUARD_PART
from dispatcher.core.transitions.processes import UNCERTAIN_S
from dispatcher.core.transitions.room import UNANSWERED_PROBES, UNKNOWN_CAPACITY_S, UNKNOWN_CREATE_S
from dispatcher.core.transitions.table import EDGES, Edge

_HEAD = """\
# States of an instance

*This page is made from `dispatcher/core/transitions/table.py` by `make docs`. Do not edit it.*

An instance is in exactly one phase. Whether it is idle or running is derived from READY and what is bound to it, never stored.
Every change of phase is one of the edges below; any other raises `IllegalTransition` and changes nothing.
"""

_PHASES: dict[Phase, str] = {
    Phase.CREATING: "we asked for it, and the cloud has not said yes yet; it counts in every limit and takes containers",
    Phase.UNKNOWN: "found in the cloud, made by an earlier process; it has not answered in this term yet",
    Phase.BOOTING: "the cloud accepted it, and it has not passed its boot probe yet",
    Phase.READY: "it passed its boot probe and lists its processes",
    Phase.SHUTDOWN: "a destroy was decided; it is sent again until the instance is proved absent",
}

_CAUSES: dict[DestroyCause, str] = {
    DestroyCause.IDLE: "nothing ran there for `TimeoutIdle`",
    DestroyCause.DRAINED: "an operator drains it, or we condemned it, and nothing runs there any more",
    DestroyCause.OPERATOR: "an operator killed it: the only thing that ends a hold",
    DestroyCause.MAKE_ROOM: "a limit on all instances keeps containers waiting that this one cannot take",
    DestroyCause.CREATE_FAILED: "the cloud accepted the create and failed later, before it ever came up",
    DestroyCause.BOOT_TIMEOUT: "it did not come up within `TimeoutBooting`, and at least one probe was made after that",
    DestroyCause.UNRESPONSIVE: "it was silent for `TimeoutProbe` while other instances answered",
    DestroyCause.UNKILLABLE: "all that runs there was sent KILL and is still there after `TimeoutKILL`",
}

_EXCEPTIONS: dict[DestroyCause, str] = {
    DestroyCause.OPERATOR: "an operator's kill",
    DestroyCause.UNRESPONSIVE: "unresponsive for `TimeoutProbe`",
    DestroyCause.UNKILLABLE: "nothing that runs there can be killed",
    DestroyCause.BOOT_TIMEOUT: "it never answered for `TimeoutBooting`",
}

_PROCESSES: dict[ProcessPhase, str] = {
    ProcessPhase.STARTING: "the start command is on its way: no list of processes says anything about it",
    ProcessPhase.UNCERTAIN: f"nobody knows whether the start took effect: {UNCERTAIN_S:.0f} s, two later lists without it and "
    "the runner's kill command have to agree before the container may start elsewhere",
    ProcessPhase.RUNNING: "a list shows it, or its start was confirmed",
    ProcessPhase.ENDED: "the kill command said that it is gone; kept until a later list agrees",
}


def states_page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, _diagram(), *_sections()])


def _word(phase: Phase | None, otherwise: str) -> str:
    return phase.name if phase is not None else otherwise


def _diagram() -> str:
    lines = [f"    {_word(edge.start, '[*]')} --> {_word(edge.end, '[*]')}" for edge in EDGES]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def _row(edge: Edge) -> tuple[str, str, str]:
    return _word(edge.start, "(not known)"), _word(edge.end, "(removed)"), edge.when


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _sections() -> Iterator[str]:
    yield "## Phases\n\n" + _table(("phase", "means"), ((phase.name, _PHASES[phase]) for phase in Phase))
    yield "## Transitions\n\n" + _table(("from", "to", "when"), (_row(edge) for edge in EDGES))
    yield "## Why an instance is destroyed\n\n" + _table(
        ("cause", "means", "counted by the guard", "may end what runs there"),
        ((c.value, _CAUSES[c], "yes" if c.guarded else "no", "yes" if c in _EXCEPTIONS else "no") for c in DestroyCause),
    )
    yield _evidence()
    yield _work()
    yield "## Processes on an instance\n\n" + _table(("phase", "means"), ((p.value, _PROCESSES[p]) for p in ProcessPhase))
    yield _containers()


def _evidence() -> str:
    exceptions = "\n".join(f"{number}. {text}" for number, text in enumerate(_EXCEPTIONS.values(), 1))
    return f"""\
## Evidence and guard

That nothing runs on an instance is a fact with a time: a list of processes that began after the last start, after the time in
which an earlier dispatcher's starts may still take effect, and shows none. Whoever destroys needs it, but for four exceptions:

{exceptions}

**The destroy guard**: when {GUARD_LEAST} instances, or one in {GUARD_PART} where that is more, were given up by the guarded
causes within {GUARD_WINDOW_S / 60:.0f} minutes, no further one is, and an alarm is raised: it is rather us.

**Absence is a proof.** An instance is removed when one complete list that began after an acknowledged destroy is without it, or
two in a row that began after its last sign of life; when a list would remove more than two instances and more than a fifth, a
third list and a failing probe have to agree. A partial list removes nothing.
"""


def _work() -> str:
    behaviors = " · ".join(f"`{behavior.value}`" for behavior in IdleBehavior)
    return f"""\
## Who takes new work

CREATING, BOOTING and READY instances do, and UNKNOWN ones for {UNKNOWN_CAPACITY_S:.0f} s, unless: the operator's choice
({behaviors}) is not `run`; it is condemned, failed, asked to be killed or being deleted; a runner there was ever sent KILL; its
create has had no known outcome for {UNKNOWN_CREATE_S:.0f} s; {UNANSWERED_PROBES} probes in a row failed.
"""


def _containers() -> str:
    states = " · ".join(state.value for state in ContainerState)
    writes = ", ".join(write.value for write in QueueWrite)
    return f"""\
## Containers

The states of a container ({states}) belong to the queue service.
The dispatcher asks for a change ({writes}), and the record that comes back decides: while a write is on its way, and for
records that were asked for before it ended, its own view stands.
"""
