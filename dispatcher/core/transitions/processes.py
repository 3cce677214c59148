"""What probes, starts and kills told us about the processes of an instance.

A list of processes says nothing about a process that one of our own acts changed at or after the moment the list began. That
nothing runs is a fact with a time: a successful list that began after the last start.
"""

from __future__ import annotations

from dispatcher.core import hints, pacing
from dispatcher.core.messages import (
    ConnectionLost,
    KillEnded,
    KillProcess,
    Probed,
    ProbeHinted,
    ProbeInstance,
    ProbeProblem,
    ProbeReport,
    StartContainer,
    StartEnded,
    StartOutcome,
)
from dispatcher.core.model import NEVER, Instance, Kill, Phase, Process, ProcessPhase, State
from dispatcher.core.transitions import setbacks
from dispatcher.core.transitions.changes import bind, end_process, past, put_container, put_instance
from dispatcher.core.transitions.table import move
from dispatcher.core.values import replace

UNCERTAIN_S = 10.0  # after the transport of an unknown start was closed: until then its process may still appear
START_RETRY_S = 2.0
LISTS_APART_S = 1.0  # between lists that broken connections ask for
SIGKILL = 9
UNFIT = "its boot probe fails"  # a reason to condemn that its next boot probe may take back


# ----------------------------------------------------------------------------------------------------------------- probes


def begin_probe(state: State, action: ProbeInstance, now: float) -> State:
    state = pacing.take(state, "probe", now)
    return put_instance(state, replace(state.instances[action.name], probing=True, probe_due=False))


def probed(state: State, event: Probed, now: float) -> State:
    instance = state.instances.get(event.name)
    if instance is None:
        return state
    if event.began_s < state.leadership.since_s:  # what another leader did since then, it cannot have seen
        return put_instance(state, replace(instance, probing=False, probe_due=True))
    report = event.report
    before = instance
    instance = replace(
        instance, probing=False, probed_s=now,
        reached_s=event.began_s if report.reached else instance.reached_s,
        misses=() if report.reached else instance.misses,
    )  # fmt: skip
    state = put_instance(state, instance)
    if report.processes is not None:
        state = _observe_processes(state, event.name, report, event.began_s, now)
    if _succeeded(instance, report):
        return _answered(state, event, now)
    return _unanswered(state, before, event, now)


def _succeeded(instance: Instance, report: ProbeReport) -> bool:
    return report.processes is not None and (report.booted or instance.phase in (Phase.READY, Phase.SHUTDOWN))


def _answered(state: State, event: Probed, now: float) -> State:
    instance = replace(
        state.instances[event.name], answered_s=event.began_s, probe_failures=0, probe_error="",
        probe_problem=ProbeProblem.NONE, silent_s=0.0,
    )  # fmt: skip
    if instance.phase is Phase.BOOTING:
        state = setbacks.booted(state, instance, now)
    if instance.phase in (Phase.BOOTING, Phase.UNKNOWN):
        idle_s = _idle_since_s(state, instance, now)
        instance = replace(_booted(instance, event.report, now), busy_s=idle_s)
    instance = _observe_condition(instance, event.report, state.settings.timeout_stale_run_lock_s, event.began_s)
    instance = _announced(instance, event.report, event.began_s)
    gap_s = event.began_s - state.cloud.probe_answered_s
    since_s = state.cloud.answers_since_s if gap_s <= 2 * state.settings.probe_interval_s else event.began_s
    cloud = replace(
        state.cloud, probe_answered_s=event.began_s, probe_answered_by=event.name, answers_since_s=since_s
    )
    return put_instance(replace(state, cloud=cloud), instance)


def _idle_since_s(state: State, instance: Instance, now: float) -> float:
    """Since it is in service; one that was found empty may have been idle before."""
    if instance.phase is not Phase.UNKNOWN or instance.processes:
        return now
    hint = hints.of_instance(state.hints, instance.name, instance.id)
    return hints.idle_since_s(hint, state.settings.timeout_idle_s, now)


def _booted(instance: Instance, report: ProbeReport, now: float) -> Instance:
    """In service. What only its boot probe spoke against is forgotten."""
    condemned = "" if instance.condemned.startswith(UNFIT) else instance.condemned
    ready = replace(instance, booted=True, ready_s=now, busy_s=now, warning=report.warning, condemned=condemned)
    return move(ready, Phase.READY, now)


def _observe_condition(instance: Instance, report: ProbeReport, patience_s: float, began_s: float) -> Instance:
    """A broken runtime, a run lock that stays locked with nobody behind it, or an end that was announced: no new work."""
    since_s = None if not report.stale else (instance.stale_since_s if instance.stale_since_s is not None else began_s)
    if since_s != instance.stale_since_s or (report.broken and not instance.broken):
        instance = replace(instance, stale_since_s=since_s, broken=instance.broken or report.broken)
    if report.broken and not instance.condemned:
        return replace(instance, condemned="its runner reports that it is broken")
    if since_s is not None and began_s - since_s > patience_s and not instance.condemned:
        return replace(instance, condemned="a run lock stays locked although its runner is gone")
    if report.notice and not instance.condemned:
        return replace(instance, condemned=f"{setbacks.ANNOUNCED}: {report.notice}")
    return instance


def _announced(instance: Instance, report: ProbeReport, began_s: float) -> Instance:
    """Its end, and when: the newest date counts. A probe that heard nothing takes nothing back: the question may have failed."""
    if not report.notice:
        return instance
    ends_s = instance.ends_s if report.ends_in_s is None else began_s + report.ends_in_s
    since_s = instance.ending_since_s if instance.ending else began_s
    return replace(instance, ending=report.notice, ending_since_s=since_s, ends_s=ends_s)


def _unanswered(state: State, before: Instance, event: Probed, now: float) -> State:
    """A probe that failed. Its silence counts only while somebody else proves that our own network works."""
    instance, report = state.instances[before.name], event.report
    silent_s = instance.silent_s if report.processes is None else 0.0
    if before.phase in (Phase.READY, Phase.UNKNOWN) and report.processes is None:
        passed_s = now - max(before.probed_s, before.answered_s, before.appeared_s)
        silent_s += max(0.0, passed_s) * _network_proved(state, before, event)
    error = f"{report.problem}: {report.error}" if report.problem is not ProbeProblem.NONE else report.error
    failed = replace(
        instance, probe_failures=instance.probe_failures + 1, probe_error=error, probe_problem=report.problem, silent_s=silent_s
    )
    return put_instance(state, failed)


ALONE = (ProbeProblem.UNREACHABLE, ProbeProblem.TIMEOUT, ProbeProblem.NO_ADDRESS)


def _network_proved(state: State, instance: Instance, event: Probed) -> float:
    """How much the silence of an instance weighs: fully while others answer, and did already when this probe began. While none
    does, our own network, key or sudo may be what broke: then nothing, or a little when cloud and queue answer and the machine
    itself is out of reach. It weighs more when there is no other that could answer."""
    since_s = instance.probed_s - state.settings.probe_interval_s
    cloud = state.cloud
    if cloud.probe_answered_by != instance.name and cloud.probe_answered_s > since_s and cloud.answers_since_s <= event.began_s:
        return 1.0
    recent_s = instance.probed_s - max(state.settings.sync_interval_s, 60.0)
    reachable = cloud.listed_s > recent_s and state.queue.polled_s > recent_s
    if not reachable or event.report.problem not in ALONE:
        return 0.0
    others = (i for i in state.instances.all() if i.name != instance.name and i.phase is Phase.READY)
    return 1.0 / 3.0 if next(others, None) is None else 1.0 / 20.0


def _observe_processes(state: State, name: str, report: ProbeReport, began_s: float, now: float) -> State:
    listed = report.processes or frozenset()
    before = state.instances[name].processes
    for uuid in sorted(listed):
        state = _seen(state, name, uuid, began_s, now)
    for uuid in sorted(set(state.instances[name].processes) - listed):
        state = _not_seen(state, name, uuid, began_s, now)
    instance = state.instances[name]
    busy_s = now if instance.processes else instance.busy_s
    if before.keys() - instance.processes.keys():  # what was about to end has ended
        instance = replace(instance, runner_ends_s=NEVER)
    return put_instance(state, replace(instance, processes_listed_s=max(began_s, instance.processes_listed_s), busy_s=busy_s))


def _put_process(state: State, name: str, process: Process) -> State:
    instance = state.instances[name]
    return put_instance(state, replace(instance, processes={**instance.processes, process.uuid: process}))


def _seen(state: State, name: str, uuid: str, began_s: float, now: float) -> State:
    """A list shows this process: known, adopted, or back from the dead."""
    process = state.instances[name].processes.get(uuid)
    if process is None:
        return _detected(state, name, uuid, now)
    if began_s <= process.changed_s or process.phase in (ProcessPhase.STARTING, ProcessPhase.RUNNING):
        return _bind_process(state, name, uuid)
    found = replace(process, phase=ProcessPhase.RUNNING, absences=0, proven_absent=False, refused=False)
    return _bind_process(_put_process(state, name, found), name, uuid)


def _detected(state: State, name: str, uuid: str, now: float) -> State:
    process = Process(uuid=uuid, phase=ProcessPhase.RUNNING, since_s=now, changed_s=NEVER)
    state = _bind_process(_put_process(state, name, process), name, uuid)
    instance = state.instances[name]
    return put_instance(state, replace(instance, last_container=instance.last_container or uuid))


def _bind_process(state: State, name: str, uuid: str) -> State:
    """A container is where its process runs, unless a process of it is known elsewhere."""
    container = state.containers.get(uuid)
    if container is None:
        return replace(state, strays=state.strays.set(uuid, name))
    if container.instance == name:
        return state
    bound = state.instances.get(container.instance) if container.instance is not None else None
    if bound is not None and uuid in bound.processes:
        return state
    return bind(state, past(container), name)


def _not_seen(state: State, name: str, uuid: str, began_s: float, now: float) -> State:
    """A list does not show this process: it ended, unless one of our acts on it is newer."""
    process = state.instances[name].processes[uuid]
    if process.phase is ProcessPhase.STARTING or began_s <= process.changed_s:
        return state
    if process.phase is ProcessPhase.UNCERTAIN:
        process = _absent_once_more(process, began_s)
        state = _put_process(state, name, process)
        if not settled(process):
            return state
    return end_process(state, name, uuid, began_s, now, process.note)


def _absent_once_more(process: Process, began_s: float) -> Process:
    enough_later = began_s > process.since_s + UNCERTAIN_S
    return replace(process, absences=process.absences + 1) if enough_later or process.refused else process


def settled(process: Process) -> bool:
    """Whether an uncertain start is proved not to run: the runner refused it and one list agrees; or the time in which it
    could appear has passed, two later lists are without it, and the kill command said that nothing is there."""
    if process.refused:
        return process.absences >= 1
    return process.absences >= 2 and process.proven_absent


# ------------------------------------------------------------------------------------------------------------ start, kill


def begin_start(state: State, action: StartContainer, now: float) -> State:
    state = bind(state, past(state.containers[action.uuid]), action.instance)
    process = Process(uuid=action.uuid, phase=ProcessPhase.STARTING, since_s=now, changed_s=now)
    instance = state.instances[action.instance]
    processes = {**instance.processes, process.uuid: process}
    busy = replace(instance, processes=processes, start_changed_s=now, busy_s=now, last_container=process.uuid)
    return put_instance(state, busy)


def start_ended(state: State, event: StartEnded, now: float) -> State:
    instance = state.instances.get(event.name)
    process = instance.processes.get(event.uuid) if instance is not None else None
    if instance is None or process is None or process.phase is not ProcessPhase.STARTING:
        return state
    state = put_instance(state, replace(instance, start_changed_s=now, busy_s=now))
    if event.outcome is StartOutcome.NOT_SENT:
        return _never_started(state, event, now)
    phase = ProcessPhase.RUNNING if event.outcome is StartOutcome.STARTED else ProcessPhase.UNCERTAIN
    process = replace(
        process, phase=phase, since_s=now, changed_s=now, note=event.error,
        refused=event.outcome is StartOutcome.REFUSED,
    )  # fmt: skip
    state = _put_process(state, event.name, process)
    if phase is ProcessPhase.UNCERTAIN:
        state = put_instance(state, replace(state.instances[event.name], probe_due=True))
    return state


def _never_started(state: State, event: StartEnded, now: float) -> State:
    """Not a byte left this host: nothing runs, no attempt is spent, the container keeps its lock and its place."""
    instance = state.instances[event.name]
    processes = {uuid: process for uuid, process in instance.processes.items() if uuid != event.uuid}
    state = put_instance(state, replace(instance, processes=processes, probe_due=True))
    container = state.containers.get(event.uuid)
    if container is None:
        return state
    return put_container(state, replace(container, not_before_s=max(container.not_before_s, now + START_RETRY_S)))


def begin_kill(state: State, action: KillProcess, now: float) -> State:
    process = state.instances[action.name].processes[action.uuid]
    container = state.containers.get(action.uuid)
    actor = container.kill_actor if container is not None and container.kill_requested else ""
    kill = process.kill or Kill(reason=action.reason, since_s=now, actor=actor)
    kill_since_s = now if action.signal == 9 and kill.kill_since_s is None else kill.kill_since_s
    kill = replace(kill, sent_s=now, sending=True, signal=action.signal, kill_since_s=kill_since_s)
    state = _put_process(state, action.name, replace(process, kill=kill))
    return _condemn_killer(state, action) if action.signal == SIGKILL else state


def _condemn_killer(state: State, action: KillProcess) -> State:
    """Children of a runner that was killed may live on where no list shows them: nothing new goes there, whether the KILL works
    or not."""
    instance = state.instances[action.name]
    reason = f"the runner of {action.uuid} had to be killed ({action.reason}), and may have left something behind"
    return put_instance(state, replace(instance, condemned=instance.condemned or reason))


def kill_ended(state: State, event: KillEnded, now: float) -> State:
    instance = state.instances.get(event.name)
    process = instance.processes.get(event.uuid) if instance is not None else None
    if process is None or process.kill is None:
        return state
    process = replace(process, kill=_kill_heard(state, state.instances[event.name], process.kill, event, now))
    if not event.gone:
        return _put_process(state, event.name, process)
    if process.phase is ProcessPhase.UNCERTAIN and not process.refused:
        return _put_process(state, event.name, replace(process, proven_absent=True))
    if process.phase is ProcessPhase.STARTING:
        return _put_process(state, event.name, process)
    state = _put_process(state, event.name, replace(process, phase=ProcessPhase.ENDED, changed_s=now))
    return _probe_now(state, event.name)


def _kill_heard(state: State, instance: Instance, kill: Kill, event: KillEnded, now: float) -> Kill:
    """A TERM that nobody heard asks for no patience, and leads to no KILL. It was heard when the kill command ended there, or
    hung while the machine answered a list."""
    heard = kill.heard or event.answered or instance.processes_listed_s > kill.sent_s
    late = kill.kill_since_s is not None and now >= kill.kill_since_s + state.settings.timeout_kill_s
    return replace(
        kill, sending=False, sent_s=now, since_s=kill.since_s if heard else now, heard=heard,
        unkillable=kill.unkillable or (late and not event.gone), error=event.error,
    )  # fmt: skip


def _probe_now(state: State, name: str) -> State:
    return put_instance(state, replace(state.instances[name], probe_due=True))


def probe_hinted(state: State, event: ProbeHinted, now: float) -> State:
    if event.name not in state.instances:
        return state
    state = _probe_now(state, event.name)
    instance = state.instances[event.name]
    return put_instance(state, replace(instance, runner_ends_s=now)) if event.ending and instance.processes else state


def connection_lost(state: State, event: ConnectionLost, now: float) -> State:
    """The connection broke: perhaps the instance is gone, so a list is due at once."""
    if event.name not in state.instances:
        return state
    at_s = max(now, state.cloud.list_ended_s + LISTS_APART_S)  # a thousand connections break together when it is our network
    cloud = replace(state.cloud, list_due_s=min(state.cloud.list_due_s, at_s))
    return _probe_now(replace(state, cloud=cloud), event.name)
