"""The instances: those that do not come up, do not answer, are not the ones we made, or ended without us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatcher.core import lifecycle
from dispatcher.core.factors import Factor, count, cut, span
from dispatcher.core.model import HoldoffKind, IdleBehavior, Instance, Phase, State
from dispatcher.core.problems import ProbeProblem
from dispatcher.core.reconcile import given_up
from dispatcher.core.refusals import BY_KIND, cause_of
from dispatcher.core.setbacks import Boot, Refusal, commonest, failed_boots, recent_ends
from dispatcher.core.transitions.room import UNANSWERED_PROBES

YOUNG_S = 60.0  # until then an image may still be setting up the login
SLOW_S = 240.0
MANY_SHARE = 0.1  # of the instances in service
WAVE = 3
IDENTITY = (ProbeProblem.HOST_KEY, ProbeProblem.LOGIN)
OUT_OF_REACH = (ProbeProblem.UNREACHABLE, ProbeProblem.TIMEOUT)
JUMP_COUNTS_S = 900.0


def factors(state: State, now: float) -> Iterator[Factor]:
    instances = [i for i in state.instances.all() if i.phase is not Phase.SHUTDOWN]
    yield from _refused(state, instances, now)
    yield from _boots(state, now)
    yield from _slow(state, instances, now)
    yield from _silent(state, instances, now)
    yield from _broken(instances)
    yield from _ended(state, instances, now)
    yield from _guarded(state, now)
    yield from _unkillable(state, now)
    jump = state.setbacks.clock
    if now - jump.at_s < JUMP_COUNTS_S:
        way = "forward" if jump.by_s > 0 else "back"
        text = (
            f"the wall clock of this host was put {way} by {span(abs(jump.by_s))}, {span(now - jump.at_s)} ago: times that are "
            f"shown have shifted, and signatures may be refused; see its time service"
        )
        yield Factor(cause="clock-jump", text=text, since_s=jump.at_s)


# ------------------------------------------------------------------------------------------------------ keys and identities


def _refused(state: State, instances: Sequence[Instance], now: float) -> Iterator[Factor]:
    """Machines that refuse our key, or that are not the ones we made; also those that were given up for it."""
    lately = [boot for name in state.setbacks.boots for boot in failed_boots(state.setbacks, name, now)]
    old = [i for i in instances if i.probe_failures >= UNANSWERED_PROBES and now - i.phase_since_s > YOUNG_S]
    strangers = [i for i in instances if i.probe_problem is ProbeProblem.HOST_KEY and i.probe_failures >= UNANSWERED_PROBES]
    text = "answers with the identity of another machine than the one we made: nothing is sent there; see who has its address"
    yield from _told("impostor", strangers, [b for b in lately if b.problem is ProbeProblem.HOST_KEY], text, now)
    shut = [i for i in old if i.probe_problem is ProbeProblem.LOGIN]
    text = "refuses our SSH key or user: see DispatchPrivateKey, and the user and keys of the image"
    yield from _told("login-refused", shut, [b for b in lately if b.problem is ProbeProblem.LOGIN], text, now)


def _told(cause: str, present: list[Instance], past: list[Boot], text: str, now: float) -> Iterator[Factor]:
    if not present and not past:
        return
    error = commonest([*(i.probe_error for i in present), *(boot.error for boot in past)])
    name, number = (present or past)[0].name, len(present) + len(past)
    since_s = min([*(i.phase_since_s for i in present), *(boot.at_s - boot.took_s for boot in past)])
    others = f" (and {count(number - 1, 'other')})" if number > 1 else ""
    containers = sum(len(i.bound) for i in present)
    yield Factor(cause=cause, text=f"{name}{others} {text} ({cut(error)})", since_s=since_s, containers=containers)


# -------------------------------------------------------------------------------------------------------------------- boots


def _boots(state: State, now: float) -> Iterator[Factor]:
    """Instance types whose last instances did not come up."""
    for name in state.setbacks.boots:
        failed = [b for b in failed_boots(state.setbacks, name, now) if b.problem not in IDENTITY]
        if not failed:
            continue
        refusal = _refusal_behind(state, failed[-1])
        if refusal is not None:
            text = f"{count(len(failed), 'create')} of type {name} failed after the cloud had accepted: {cut(refusal.text)}"
            cause = cause_of(refusal.kind, refusal.text)
            yield Factor(cause=cause, text=text, level="limited", since_s=refusal.first_s)
            continue
        tried = len(state.setbacks.boots.get(name) or ())
        error = commonest([boot.error for boot in failed])
        cause = cause_of(HoldoffKind.ERROR, error)
        cause = "does-not-boot" if cause in BY_KIND.values() else cause
        which = f"{len(failed)} of the last {tried} instances" if tried > 1 else "the last instance"
        text = (
            f"{which} of type {name} did not come up ({cut(error)}): see the image, the boot probe and the network between here "
            f"and there"
        )
        level = "degraded" if len(failed) > 1 or tried == 1 else "busy"
        yield Factor(cause=cause, text=text, level=level, since_s=failed[0].at_s - failed[0].took_s)


def _refusal_behind(state: State, boot: Boot) -> Refusal | None:
    """The quota or the missing capacity for which it failed after it was accepted, if that is why."""
    limits = (HoldoffKind.QUOTA, HoldoffKind.CAPACITY)
    found = (r for r in state.setbacks.refusals.values() if r.kind in limits and boot.error and r.text.startswith(boot.error))
    return next(found, None)


def _slow(state: State, instances: Sequence[Instance], now: float) -> Iterator[Factor]:
    """Instances that take much longer to come up than they should, before they are given up."""
    slow = [i for i in instances if i.phase is Phase.BOOTING and now - i.phase_since_s > _patience_s(state, i)]
    slow = [i for i in slow if not failed_boots(state.setbacks, i.type, now)]  # those of whose type it is told already
    if not slow:
        return
    oldest = min(slow, key=lambda i: i.phase_since_s)
    error = commonest([i.probe_error for i in slow]) or "it has no address yet"
    boots = f"{oldest.name} boots for {span(now - oldest.phase_since_s)}"
    text = f"{count(len(slow), 'instance')} should have come up, {boots}: {cut(error)}"
    others = [i for i in instances if i.phase in (Phase.BOOTING, Phase.READY)]
    alone = len(slow) == len(others) or len(slow) == sum(1 for i in others if i.phase is Phase.BOOTING) > 1
    cause, level = ("does-not-boot", "degraded") if alone else ("slow-boot", "limited")
    containers = sum(len(i.bound) for i in slow)
    yield Factor(cause=cause, text=text, level=level, since_s=oldest.phase_since_s, containers=containers)


def _patience_s(state: State, instance: Instance) -> float:
    good = [boot.took_s for boot in state.setbacks.boots.get(instance.type) or () if boot.good]
    usual_s = max(SLOW_S / 2, 3 * sorted(good)[len(good) // 2]) if good else SLOW_S
    return min(usual_s, state.settings.timeout_booting_s / 2)


# ------------------------------------------------------------------------------------------------------------------ service


def _silent(state: State, instances: Sequence[Instance], now: float) -> Iterator[Factor]:
    """Instances that were up and answer no more: all of them is rather our own network."""
    up = [i for i in instances if i.phase is Phase.READY or (i.phase is Phase.UNKNOWN and i.probed_s > i.appeared_s)]
    silent = [i for i in up if i.probe_problem in OUT_OF_REACH and i.probe_failures >= UNANSWERED_PROBES]
    if not silent:
        return
    since_s = min(max(i.answered_s, i.appeared_s) for i in silent)
    error = commonest([i.probe_error for i in silent])
    if len(silent) == len(up) > 1:
        text = (
            f"none of {len(up)} instances answers over SSH for {span(now - since_s)} ({cut(error)}): rather our own network, or "
            f"a rule of a firewall; none is given up for it"
        )
        yield Factor(cause="network-down", text=text, since_s=since_s)
        return
    many = len(silent) >= MANY_SHARE * len(up)
    cause = "instances-silent" if many else "instance-silent"
    text = f"{len(silent)} of {count(len(up), 'instance')} no longer answer over SSH, as {silent[0].name}: {cut(error)}"
    yield Factor(cause=cause, text=text, level="degraded" if many else "busy", since_s=since_s)


def _broken(instances: Sequence[Instance]) -> Iterator[Factor]:
    """Machines that answer and do not work."""
    up = [i for i in instances if i.phase in (Phase.READY, Phase.UNKNOWN)]
    broken = [i for i in up if i.broken or (i.probe_problem is ProbeProblem.COMMAND and i.probe_failures >= UNANSWERED_PROBES)]
    if broken:
        said = commonest([i.probe_error or i.condemned for i in broken])
        text = f"the runner does not work on {len(broken)} of {count(len(up), 'instance')}, as on {broken[0].name}: {cut(said)}"
        yield Factor(cause="runner-broken", text=text, level="degraded" if len(broken) >= MANY_SHARE * len(up) else "busy")


def _ended(state: State, instances: Sequence[Instance], now: float) -> Iterator[Factor]:
    """Waves of ends that nobody here asked for."""
    ends = recent_ends(state.setbacks, now)
    doomed = [i for i in instances if i.condemned.startswith("its end is announced")]
    spot = [e for e in ends if (e.preemptible or e.announced) and not e.given_up]
    plain = [e for e in ends if not (e.preemptible or e.announced) and not e.given_up]
    silent = [e for e in ends if e.given_up]
    enough = min(WAVE, max(2, len(instances)))
    if len(spot) + len(doomed) >= enough:
        why = spot[-1].why if spot else doomed[0].condemned
        gone = f"{len(spot)} are gone within 10 min, {len(doomed)} are about to"
        text = f"the cloud takes preemptible instances back: {gone}: {cut(why)}"
        yield Factor(cause="spot-wave", text=text, since_s=spot[0].at_s if spot else now)
    if plain:
        wave = len(plain) >= enough
        gone = f"{count(len(plain), 'instance')} disappeared within 10 min"
        text = f"{gone}, and not for us, as {plain[-1].name}: {cut(plain[-1].why)}"
        cause, level = ("instances-lost", "degraded") if wave else ("instance-lost", "busy")
        yield Factor(cause=cause, text=text, level=level, since_s=plain[0].at_s)
    if silent:
        wave = len(silent) >= enough
        text = f"{count(len(silent), 'instance')} had to be given up within 10 min, as {silent[-1].name}: {cut(silent[-1].why)}"
        cause, level = ("instances-silent", "degraded") if wave else ("instance-silent", "busy")
        yield Factor(cause=cause, text=text, level=level, since_s=silent[0].at_s)


def _guarded(state: State, now: float) -> Iterator[Factor]:
    text = lifecycle.guarded(state, now)
    if text:
        yield Factor(cause="destroy-guard", text=f"{text}; when so many look bad at once, it is rather something that they share")


def _unkillable(state: State, now: float) -> Iterator[Factor]:
    found = [(p.uuid, i) for i in state.instances.all() for p in i.processes.values() if given_up(state, p, now)]
    if found:
        uuid, instance = found[0]
        held = " (an operator holds it)" if instance.idle_behavior is IdleBehavior.HOLD else ""
        text = f"{count(len(found), 'runner')} cannot be killed, as that of {uuid} on {instance.name}{held}"
        yield Factor(cause="unkillable", text=text, containers=len(found))
