"""What a thousand storms must have shown: every legal transition, every refusal, every fault, every message.

What never occurs is not proved. The lists are taken from the code itself where that is possible; what a storm cannot bring about
is listed with its reason.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType

from dispatcher.core.model import Phase
from dispatcher.core.transitions import INTENTS, OBSERVERS
from dispatcher.core.transitions import legal as _legal_function
from dispatcher.core.transitions.table import EDGES

_CALLS = ("create", "list", "destroy", "set_tags", "poll_create")
_CHANGING = ("create", "destroy", "set_tags")
_REASONS = ("Reason", "Container | str")  # what a function that says why not returns
_QUEUE_CALLS = ("poll", "read", "lock", "unlock", "cancel", "status")

FAULTS: tuple[str, ...] = (
    *(f"{call}: error" for call in (*_CALLS, *_QUEUE_CALLS, "token")),
    *("leftover", "delete_leftover: error", "delete_leftover: driver bug"),
    *(f"{call}: driver bug" for call in _CALLS),
    *(f"{call}: lost answer" for call in (*_CHANGING, *_QUEUE_CALLS)),
    *(f"{call}: false unknown" for call in _CHANGING),
    *(f"{call}: rate limited" for call in ("create", "list", "destroy")),
    *(f"{call}: too many in a minute" for call in _CALLS),
    *("create: quota", "create: quota of a group", "create: no capacity", "create: late failure", "denied"),
    *("list: partial", "list: lie", "destroy: ignored", "lock: 503", "poll: short", "poll: garbled", "read: garbled"),
    *("instance never boots", "instance breaks", "instance reports broken", "instance hangs", "runner missing"),
    "instance turns unfit",
    *("instance lost", "instance cut off", "connection lost", "own network outage", "own network down", "queue outage"),
    *("probe lost", "login refused", "start lost", "start not sent", "start refused", "output hangs", "output lost"),
    "credentials expired",
    *("runner crashes", "runner ignores TERM", "runner is unkillable", "run lock stays"),
    *("dispatcher killed", "leader changed", "wall clock jumped", "settings reloaded", "hint", "priority changed"),
    *("operator: run", "operator: hold", "operator: drain", "operator: for a time"),
    *("operator: kill container", "operator: kill instance"),
    *(f"{part}: {trouble}" for part in ("prices", "types") for trouble in ("error", "driver bug")),
    *("types: falsely not offered", "create: not offered"),
    "unlocked by somebody", "end announced", "usages: falsely full",
    *("hints deleted", "hints old", "hints cut off", "hints garbage"),
)

IMPOSSIBLE: dict[str, str] = {
    "create: held": "a call that takes effect after its deadline, and after two lists, can pass every limit",
    "destroy: held": "as for creates: the stub holds both or none",
    "a process of it still runs": "a container with a known process is bound to it at once: a second lock on the same door",
    "too soon after a failure": "a failure makes a read due that is not sent before that time: a second lock on the same door",
    "it is {instance.phase.value}": "the table lets every phase become SHUTDOWN, and is asked all the same",
}
"""What a storm cannot or must not bring about → why."""


# ---------------------------------------------------------------------------------------------------------------- refusals


@dataclass(frozen=True, slots=True)
class Refusal:
    """One text that ``legal`` may answer with: its pattern, and how it stands in the code."""

    label: str
    pattern: re.Pattern[str]
    weight: int


@cache
def refusals() -> tuple[Refusal, ...]:
    """Every reason of ``legal``, read from its source: a new one is asked for as soon as it is written."""
    trees = [ast.parse(inspect.getsource(module)) for module in _sources()]
    texts = [
        text
        for function in (node for tree in trees for node in ast.walk(tree) if _answers_why_not(node))
        for node in ast.walk(function)
        if isinstance(node, ast.Return)
        for text in _texts(node.value)
    ]
    found = {refusal.label: refusal for refusal in map(_refusal, texts)}
    return tuple(sorted(found.values(), key=lambda refusal: -refusal.weight))


def _sources() -> list[ModuleType]:
    """The module of ``legal``, and those of its room whose functions it asks."""
    home = inspect.getmodule(_legal_function)
    assert home is not None
    asked = {inspect.getmodule(function) for function in vars(home).values() if inspect.isfunction(function)}
    room = home.__name__.rpartition(".")[0]
    return sorted((m for m in asked if m is not None and m.__name__.startswith(room)), key=lambda module: module.__name__)


def _answers_why_not(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) in _REASONS


def _texts(node: ast.expr | None) -> Iterator[ast.Constant | ast.JoinedStr]:
    """The texts that an expression may become."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            yield node
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*_texts(body), *_texts(orelse))
        case ast.BoolOp(values=values):
            for value in values:
                yield from _texts(value)


def _refusal(node: ast.Constant | ast.JoinedStr) -> Refusal:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    label, pattern, weight = "", "", 0
    for part in parts:
        if isinstance(part, ast.Constant):
            label, pattern, weight = label + str(part.value), pattern + re.escape(str(part.value)), weight + len(str(part.value))
        else:
            label, pattern = label + "{" + ast.unparse(part).strip("f'{}\"") + "}", pattern + ".*"
    return Refusal(label, re.compile(pattern, re.DOTALL), weight)


@cache
def refusal_of(reason: str) -> str:
    """The label of a reason: names and numbers taken out."""
    found = [refusal.label for refusal in refusals() if refusal.pattern.fullmatch(reason)]
    if not found:
        raise LookupError(f"the source of legal has no such reason: {reason}")
    return found[0]


# ------------------------------------------------------------------------------------------------------------------ census


@dataclass(slots=True)
class Census:
    """What occurred, and how often, over any number of storms."""

    transitions: Counter[tuple[Phase | None, Phase | None]] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)

    def add(self, other: Census) -> None:
        self.transitions += other.transitions
        self.refusals += other.refusals
        self.faults += other.faults
        self.messages += other.messages

    def add_refusals(self, reasons: Counter[str]) -> None:
        for reason, count in reasons.items():
            self.refusals[refusal_of(reason)] += count

    def tables(self) -> dict[str, dict[str, int]]:
        """Kind → what → how often, with a zero for what should have occurred and did not."""
        edges = {f"{_word(edge.start)} → {_word(edge.end)}": self.transitions[edge.start, edge.end] for edge in EDGES}
        names = sorted(kind.__name__ for kind in (*OBSERVERS, *INTENTS))
        return {
            "transitions": edges,
            "refusals": {refusal.label: self.refusals[refusal.label] for refusal in refusals()},
            "faults": {fault: self.faults[fault] for fault in FAULTS},
            "messages": {name: self.messages[name] for name in names},
        }

    def missing(self) -> list[str]:
        """What never occurred although it can."""
        return [
            f"{kind}: {what}"
            for kind, table in self.tables().items()
            for what, count in table.items()
            if not count and what not in IMPOSSIBLE
        ]

    def unlisted(self) -> list[str]:
        """Faults that occurred and that the list here does not know."""
        return sorted(set(self.faults) - set(FAULTS) - set(IMPOSSIBLE))


def _word(phase: Phase | None) -> str:
    return phase.value if phase is not None else "nothing"
