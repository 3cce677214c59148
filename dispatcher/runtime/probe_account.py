"""The account of failed probes: every one that failed after its instance had booted is in exactly one line's ``Failed``.

Pure: changes of State and times go in, sentences come out. The first failure of a streak is told at once, further ones of the
same instance and error once a minute, and what a second has no room for is summed in one line, never dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import field

from dispatcher.core import messages as m
from dispatcher.core.model import DestroyCause, Instance, State
from dispatcher.frozen import dataclass
from dispatcher.runtime.tell_instances import fields_of, fields_said
from dispatcher.runtime.told import INFO, WARNING, Kind, Told

LINES_PER_S, BURST = 10.0, 9.0  # no second sees more than both together, and one more at the very end
AGAIN_S = 60.0
ERRORS_APART = 8  # of one streak; what comes after them is counted with the last
EXAMPLES = 5

Message = m.Event | m.Action


@dataclass(slots=True, kw_only=True)
class Account:
    """The failures of one instance by one error: how many of them no line has told yet."""

    error: str
    report: m.ProbeReport
    untold: int = 0
    told_s: float | None = None

    def due(self, now_s: float) -> bool:
        return self.untold > 0 and (self.told_s is None or now_s >= self.told_s + AGAIN_S)


@dataclass(slots=True, kw_only=True)
class Streak:
    """An instance's failed probes since its last good one. ``end``: how the streak ended, in words; ``told``: also that."""

    instance: Instance
    accounts: dict[str, Account] = field(default_factory=dict)
    total: int = 0
    end: str = ""
    told: bool = False

    def add(self, report: m.ProbeReport) -> None:
        error = error_of(report)
        if error not in self.accounts and len(self.accounts) >= ERRORS_APART:
            error = next(reversed(self.accounts))
        account = self.accounts.setdefault(error, Account(error=error, report=report))
        account.report = report
        account.untold += 1
        self.total += 1


@dataclass(frozen=True, slots=True)
class Due:
    """Something that wants a line: one account of a streak, or (None) the end of it."""

    streak: Streak
    account: Account | None


def failed_after_boot(before: State, message: Message) -> bool:
    """Whether this is a probe to be accounted for."""
    if not isinstance(message, m.Probed) or message.report.processes is not None:
        return False
    instance = before.instances.get(message.name)
    return instance is not None and instance.ready_s is not None


def error_of(report: m.ProbeReport) -> str:
    return f"{report.problem}: {report.error}" if report.problem else report.error or "no answer"


class ProbeAccount:
    """Hears changes in their order; ``lines`` tells what is due at this moment."""

    def __init__(self) -> None:
        self._streaks: dict[str, Streak] = {}
        self._ended: list[Streak] = []
        self._booting: dict[str, m.ProbeReport] = {}
        self._boots: list[Told] = []
        self._state = State()
        self._unheard = 0
        self._tokens, self._at_s = BURST, 0.0

    # -- hearing

    def hear(self, before: State, after: State, message: Message, at_s: float) -> None:
        self._state = after
        if isinstance(message, m.Probed) and (instance := before.instances.get(message.name)) is not None:
            self._probed(instance, message)
        elif isinstance(message, m.DestroyInstance) and message.cause is DestroyCause.BOOT_TIMEOUT:
            self._boot_failed(before.instances.get(message.name), at_s)

    def unheard(self, count: int) -> None:
        """Failed probes of which only the number is known."""
        self._unheard += count

    def _probed(self, instance: Instance, event: m.Probed) -> None:
        if event.report.processes is None and instance.ready_s is not None:
            self._streaks.setdefault(event.name, Streak(instance=instance)).add(event.report)
        elif instance.ready_s is None and not event.report.booted:
            self._booting[event.name] = event.report
        else:
            self._booting.pop(event.name, None)
            self._end(event.name, "answers again")

    def _end(self, name: str, how: str) -> None:
        streak = self._streaks.pop(name, None)
        if streak is not None:
            streak.end = how
            self._ended.append(streak)

    def _boot_failed(self, instance: Instance | None, at_s: float) -> None:
        if instance is not None and instance.destroy is None:
            self._boots.append(boot_failure(instance, self._booting.pop(instance.name, None), at_s))

    # -- telling

    def lines(self, now_s: float) -> list[Told]:
        """What is due, as far as the budget of lines reaches; the rest in one line, or later."""
        self._forget_the_gone()
        boots, self._boots = self._boots, []
        self._tokens = min(BURST, self._tokens + max(0.0, now_s - self._at_s) * LINES_PER_S)
        self._at_s = now_s
        return boots + self._within(list(self._due(now_s)), int(self._tokens), now_s)

    def close(self, now_s: float) -> list[Told]:
        """Everything that no line has told yet, in one line: for the end of the process."""
        streaks = [*self._ended, *self._streaks.values()]
        due = [Due(streak, account) for streak in streaks for account in streak.accounts.values() if account.untold]
        boots, self._boots = self._boots, []
        return boots + (self._sum(due, now_s) if due or self._unheard else [])

    def _forget_the_gone(self) -> None:
        for name in [name for name in self._streaks if name not in self._state.instances]:
            self._end(name, "is gone")
        for name in [name for name in self._booting if name not in self._state.instances]:
            del self._booting[name]

    def _due(self, now_s: float) -> Iterator[Due]:
        for streak in self._ended:
            yield from (Due(streak, account) for account in streak.accounts.values() if account.told_s is None)
            yield Due(streak, None)
        for streak in self._streaks.values():
            yield from (Due(streak, account) for account in streak.accounts.values() if account.due(now_s))

    def _within(self, due: Sequence[Due], room: int, now_s: float) -> list[Told]:
        if room == 0 or not (due or self._unheard):
            return []
        one_by_one = len(due) if len(due) + (self._unheard > 0) <= room else room - 1
        told = [self._tell(each, now_s) for each in due[:one_by_one]]
        if one_by_one < len(due) or self._unheard:
            told += self._sum(due[one_by_one:], now_s)
        self._ended = [streak for streak in self._ended if not streak.told]
        self._tokens -= len(told)
        return told

    def _tell(self, due: Due, now_s: float) -> Told:
        if due.account is None:
            return ending(due.streak, self._take(due, now_s))
        return failing(due.streak, due.account, first=due.account.told_s is None, count=self._take(due, now_s))

    def _take(self, due: Due, now_s: float) -> int:
        """The number that this line tells; from now on it is told."""
        accounts = [due.account] if due.account is not None else list(due.streak.accounts.values())
        count = 0
        for account in accounts:
            count += account.untold
            account.untold, account.told_s = 0, now_s
        due.streak.told = due.account is None
        return count

    def _sum(self, due: Sequence[Due], now_s: float) -> list[Told]:
        errors: Counter[str] = Counter()
        ended: Counter[str] = Counter()
        for each in due:
            if each.account is None:
                ended[each.streak.end] += 1
            for account in [each.account] if each.account is not None else each.streak.accounts.values():
                errors[account.error] += account.untold
            self._take(each, now_s)
        unheard, self._unheard = self._unheard, 0
        names = list(dict.fromkeys(each.streak.instance.name for each in due))
        return [summed(names, errors, ended, unheard)]


# -------------------------------------------------------------------------------------------------------------- sentences


def _on(instance: Instance, text: str, level: int, **more: object) -> Told:
    fields = {**fields_of(instance), **more}
    text = f"instance {instance.name} {text}"
    return Told(text=text, kind=Kind.INSTANCE, level=level, instance=instance.name, fields=fields)


def failing(streak: Streak, account: Account, *, first: bool, count: int) -> Told:
    text = "fails its probe" if first else f"still fails its probe, {count} more failed since"
    fields = {**fields_said(account.report.said), "error": account.error, "Failed": count}
    return _on(streak.instance, f"{text}: {account.error}", WARNING, **fields)


def ending(streak: Streak, count: int) -> Told:
    more = f" ({count} of them not told yet)" if count else ""
    text = f"{streak.end} after {streak.total} failed probes{more}"
    return _on(streak.instance, text, INFO, Failed=count, Total=streak.total)


def boot_failure(instance: Instance, report: m.ProbeReport | None, at_s: float) -> Told:
    """With the last words of its last boot probe."""
    took_s = at_s - instance.phase_since_s
    error = error_of(report) if report is not None else instance.probe_error or "it never had an address"
    fields = {"Duration": round(took_s, 3), **fields_said(report.said if report is not None else None), "error": error}
    return _on(instance, f"did not boot within {took_s:.0f} s; its last boot probe: {error}", WARNING, **fields)


def summed(names: Sequence[str], errors: Counter[str], ended: Counter[str], unheard: int) -> Told:
    count = sum(errors.values()) + unheard
    parts = [f"{count} failed probes of {len(names)} instances, too many to tell one by one"]
    parts += [f"{number} × {error}" for error, number in errors.most_common(3) if number]
    parts += [f"{number} of the instances {_plural(how)}" for how, number in ended.items()]
    parts += [f"{unheard} came too fast to know of which instance"] if unheard else []
    shown = ", ".join(names[:EXAMPLES]) + (f" and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else "")
    fields = {"Failed": count, "Instances": len(names)}
    text = "; ".join(parts) + (f" ({shown})" if names else "")
    return Told(text=text, kind=Kind.INSTANCE, level=WARNING, fields=fields)


def _plural(how: str) -> str:
    return {"answers again": "answer again", "is gone": "are gone"}.get(how, how)
