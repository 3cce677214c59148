"""Looks keys up in a document and collects every problem on the way, so that all are reported at once.

A wrong value is reported and its default taken, for the sake of the checks that follow; nothing starts with it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from dispatcher.config.keys import Key
from dispatcher.config.problems import InForce, Origin, Problem, Severity, Source
from dispatcher.config.values import Wrong
from dispatcher.config.yaml_lines import Entry, Fields, Node, Scalar


class Reader:
    """One mapping of a file. ``prefix`` is its dotted path; readers of one file share what they collect. ``elsewhere``: full
    path → the file of a credential that stands for the value."""

    def __init__(self, file: str, fields: Fields, prefix: str = "", parent: Reader | None = None) -> None:
        self.file = file
        self.fields = fields
        self.prefix = prefix
        self.problems: list[Problem] = parent.problems if parent else []
        self.in_force: list[InForce] = parent.in_force if parent else []
        self.elsewhere: Mapping[str, str] = parent.elsewhere if parent else {}

    # Problems

    def wrong(self, path: str, line: int | None, text: str) -> None:
        self._note(Severity.ERROR, path, line, text)

    def warn(self, path: str, line: int | None, text: str) -> None:
        self._note(Severity.WARNING, path, line, text)

    def _note(self, severity: Severity, path: str, line: int | None, text: str) -> None:
        problem = Problem(severity=severity, file=self._file(path), path=self.full(path), line=line or None, text=text)
        if problem not in self.problems:
            self.problems.append(problem)

    def _file(self, path: str) -> str:
        return self.elsewhere.get(self.full(path), self.file)

    def full(self, path: str) -> str:
        return ".".join(part for part in (self.prefix, path) if part)

    # Looking up

    def find(self, path: str) -> Entry | None:
        """The value at a dotted path. What is null is absent, as upstream has it."""
        *above, name = path.split(".")
        entry = self.mapping(".".join(above)).entries.get(name)
        return None if entry is None or is_null(entry.node) else entry

    def mapping(self, path: str) -> Fields:
        """The mapping at a dotted path; an empty one when it is absent or something else."""
        fields, done = self.fields, ""
        for name in path.split(".") if path else ():
            done = f"{done}.{name}" if done else name
            fields = self._as_mapping(fields.entries.get(name), done)
        return fields

    def below(self, path: str, entry: Entry | None = None) -> Reader:
        """A reader of the mapping at ``path``, or of ``entry`` when its name is no dotted path."""
        fields = self.mapping(path) if entry is None else self._as_mapping(entry, path)
        return Reader(self.file, fields, self.full(path), self)

    def _as_mapping(self, entry: Entry | None, path: str) -> Fields:
        if entry is None or is_null(entry.node):
            return Fields({}, 0)
        if isinstance(entry.node, Fields):
            return entry.node
        self.wrong(path, entry.line, f"has to be a mapping, not {_kind_of(entry.node)}")
        return Fields({}, 0)

    # Reading

    def read(self, key: Key) -> Any:
        """The value in force of a key of the table."""
        entry = self.find(key.path)
        value = None if entry is None else self._parsed(key, entry)
        if entry is None or value is None:
            return self._by_default(key)
        if key.kind.counts_as_absent(value):
            instead = key.default if key.default is not None else str(Source.CHOSEN)
            self.warn(key.path, entry.line, f"{key.kind.show(value)} counts as absent: {instead}")
            return self._by_default(key)
        origin = Origin(source=Source.FILE, file=self._file(key.path), line=entry.line or None)
        self.show(key.path, hidden(value) if key.secret else key.kind.show(value), origin)
        return value

    def _parsed(self, key: Key, entry: Entry) -> Any:
        try:
            return key.kind.parse(entry.node)
        except Wrong as wrong:
            self.wrong(key.path, entry.line, str(wrong))
            return None

    def _by_default(self, key: Key) -> Any:
        value = key.value_by_default
        if key.default is None:
            self.show(key.path, "", Origin(source=Source.CHOSEN))
        else:
            self.show(key.path, hidden(value) if key.secret else key.kind.show(value), Origin(source=Source.DEFAULT))
        return value

    def show(self, path: str, shown: str, origin: Origin) -> None:
        self.in_force.append(InForce(path=path, shown=shown, origin=origin))

    def show_found(self, path: str, shown: str, entry: Entry | None) -> None:
        """Like ``show``, with the place of ``entry``, or the default when there is none."""
        source = Source.DEFAULT if entry is None else Source.FILE
        self.show(path, shown, Origin(source=source, file=self._file(path), line=(entry.line or None) if entry else None))

    # Unknown keys

    def warn_unknown(self, known: Iterable[str], elsewhere: Mapping[str, str]) -> None:
        """Warn of each key that is not ``known``; ``elsewhere``: key → where it belongs."""
        names = tuple(known)
        for name, entry in self.fields.entries.items():
            if name not in names:
                self.warn(name, entry.line, "is not known and has no effect" + _advice(name, names, elsewhere))


def is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def hidden(value: object) -> str:
    return "set" if value else "not set"


def _advice(name: str, names: tuple[str, ...], elsewhere: Mapping[str, str]) -> str:
    if name in elsewhere:
        return f": it belongs into {elsewhere[name]}"
    lowered = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f": did you mean {lowered[near[0]]}?" if near else ""


def _kind_of(node: Node) -> str:
    return "a single value" if isinstance(node, Scalar) else "a list"
