"""What is said about the end of a container, an attempt or an instance. Pure: facts that State keeps go in, sentences come out.

Users read them in ``runtime_status``: they name the instance, the last signal and what the runner last wrote.
"""

from __future__ import annotations

from dispatcher.core.model import NEVER, Container, Instance, State
from dispatcher.core.notes import one_line

SIGNALS = {15: "SIGTERM", 9: "SIGKILL"}
KILL = 9
MOST_CHARACTERS = 300  # of what a runner said, where one line is all that is shown
OUTPUT_FOLLOWS = "the end of its output:"


def was_killed(container: Container) -> bool:
    """Whether the runner of the attempt that ended was sent KILL: its children may live on, unseen."""
    return container.killed is not None and container.killed.kill_since_s is not None


def why_cancelled(state: State, container: Container) -> str:
    """The reason for which a container that has begun, or whose runner was killed, is cancelled."""
    where = f" on {container.avoid}" if container.avoid else ""
    if container.killed is not None and was_killed(container):
        waited_s = state.settings.timeout_term_s
        reason = container.killed.reason
        return f"the container's runner{where} was killed: it had not ended {waited_s:g} s after SIGTERM ({reason})"
    if container.lost:
        return f"the instance on which the container ran was lost: {container.lost}"
    return f"the container's runner ended{where} without a result"


def why_given_up(state: State, container: Container) -> str:
    """The reason for which a container that never began is cancelled instead of being tried again."""
    return (
        f"the container could not be started in {container.lock_count} attempts "
        f"(MaxDispatchAttempts is {state.settings.max_dispatch_attempts}): {attempt_error(container)}"
    )


def attempt_error(container: Container) -> str:
    """Why an attempt came to nothing, in one line."""
    where = f" on {container.avoid}" if container.avoid else ""
    said = one_line(container.exit_note, MOST_CHARACTERS) or _last_line(container)
    return f"its runner ended{where} before the container began" + (f": {said}" if said else "")


def _last_line(container: Container) -> str:
    lines = container.output.text.strip().splitlines() if container.output is not None else []
    return one_line(lines[-1], MOST_CHARACTERS) if lines else ""


def detail(container: Container) -> str:
    """Everything else that is known: one fact a line, the runner's own words at the end."""
    facts = [
        f"instance: {where}" if (where := _where(container)) else "",
        f"last signal: {_last_signal(container)}" if container.exited_s is not None else "",
        f"the runner said: {container.exit_note}" if container.exit_note else "",
        f"attempts: {container.lock_count}" if container.lock_count > 1 else "",
    ]
    output = container.output.text.strip("\n") if container.output is not None else ""
    facts.append(f"{OUTPUT_FOLLOWS}\n{output}" if output else "")
    return "\n".join(fact for fact in facts if fact)


def _where(container: Container) -> str:
    """Of one that ran before we came, its record tells no more than an address."""
    return container.ran_on or container.avoid or (f"at {container.gateway_address}" if container.gateway_address else "")


def _last_signal(container: Container) -> str:
    killed = container.killed
    if killed is None or not (killed.heard or killed.kill_since_s is not None):
        return "none was sent"
    return f"{SIGNALS.get(killed.signal, killed.signal)} ({killed.reason})"


# -------------------------------------------------------------------------------------------------------------- instances


def in_words(instance: Instance) -> str:
    """An instance, for people who were not there."""
    known = (f"id {instance.id}" if instance.id else "", f"type {instance.type}", instance.address or "")
    return f"{instance.name} ({', '.join(part for part in known if part)})"


def why_gone(instance: Instance, *, preemptible: bool, now: float) -> str:
    """Why an instance is there no more, as far as it is known."""
    if instance.destroy is not None:
        return f"it was destroyed: {instance.destroy.reason}"
    if instance.id is None:
        return "it was never created"
    return f"it disappeared from the cloud ({'; '.join(_clues(instance, preemptible, now))})"


def _clues(instance: Instance, preemptible: bool, now: float) -> list[str]:
    clues = [
        "the cloud was deleting it, and not for us" if instance.deleting else "",
        f"the cloud said: {instance.failure}" if instance.failure else "",
        "it is preemptible: the cloud may have taken it back" if preemptible else "",
        f"it was to go: {instance.condemned}" if instance.condemned else "",
        f"its last probe failed: {instance.probe_error}" if instance.probe_error else "",
        f"it last answered {now - instance.reached_s:.0f} s ago" if instance.reached_s > NEVER else "it never answered",
    ]
    return [clue for clue in clues if clue]
