"""YAML in which each value knows its line, so that a problem can name its place.

The parser only reports what is wrong with the text as YAML. Values may be secret, so no message of it quotes the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any, NamedTuple

import yaml

from dispatcher.config.problems import Problem, Severity
from dispatcher.frozen import dataclass

MAX_VALUES = 200_000  # after aliases are followed: a small file can name itself into a huge one
SAMPLE = "SAMPLE"  # upstream's files show the shape of an entry under this name

_TAG = "tag:yaml.org,2002:"
_TYPED = {_TAG + kind for kind in ("null", "bool", "int", "float")}
_HARMLESS_QUOTE = re.compile(r"<[a-z ]+>|\\t|.")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. ``text`` is what stands in the file; ``quoted`` tells ``"1"`` from ``1``."""

    value: str | int | float | bool | None = field(repr=False)
    text: str = field(repr=False)
    line: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    items: tuple[Node, ...]
    line: int


class Entry(NamedTuple):
    """A value and the line of its key."""

    node: Node
    line: int


@dataclass(frozen=True, slots=True)
class Fields:
    entries: dict[str, Entry]
    line: int


Node = Scalar | Items | Fields


@dataclass(frozen=True, slots=True)
class Document:
    """``root`` is None when the text could not be understood; an empty text is an empty mapping."""

    root: Node | None
    problems: tuple[Problem, ...] = ()


def parse(text: str, file: str) -> Document:
    """The document in ``text``. Duplicate keys are problems, of which the last one counts."""
    try:
        top = yaml.compose(text, Loader=yaml.SafeLoader)
        builder = _Builder(file)
        root: Node = builder.build(top) if top is not None else Fields({}, 1)
    except yaml.MarkedYAMLError as error:
        return Document(None, (_syntax_problem(error, file),))
    except yaml.reader.ReaderError as error:
        return Document(None, (_character_problem(error, text, file),))
    except RecursionError:
        return Document(None, (Problem(severity=Severity.ERROR, file=file, text="values are nested too deeply"),))
    if builder.weight(root) > MAX_VALUES:
        text = f"holds more than {MAX_VALUES} values once its aliases are followed"
        return Document(None, (Problem(severity=Severity.ERROR, file=file, text=text),))
    return Document(root, tuple(builder.problems))


def plain(node: Node) -> Any:
    """The node as Python values: dict, list and scalars; what has no JSON type (a date) is text."""
    if isinstance(node, Fields):
        return {name: plain(entry.node) for name, entry in node.entries.items()}
    if isinstance(node, Items):
        return [plain(each) for each in node.items]
    return node.value


def lines(node: Node, path: str) -> Iterator[tuple[str, int]]:
    """Every dotted path below ``path`` with its line."""
    if isinstance(node, Fields):
        for name, entry in node.entries.items():
            yield f"{path}.{name}", entry.line
            yield from lines(entry.node, f"{path}.{name}")
    elif isinstance(node, Items):
        for place, each in enumerate(node.items):
            yield f"{path}.{place}", each.line
            yield from lines(each, f"{path}.{place}")


# --------------------------------------------------------------------------------------------------------------- problems


def _syntax_problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    text = "; ".join(_without_quotes(part) for part in (error.context, error.problem) if part)
    if "\\t" in text:
        text += " (indent with spaces, not with tabs)"
    return Problem(
        severity=Severity.ERROR,
        file=file,
        line=mark.line + 1 if mark else None,
        column=mark.column + 1 if mark else None,
        text=f"this is not YAML: {text}",
    )


def _without_quotes(text: str) -> str:
    """The parser quotes what it found; an unquoted password that begins with ``*`` would be among it."""
    return re.sub(r"(['\"])(.*?)\1", lambda quote: quote[0] if _HARMLESS_QUOTE.fullmatch(quote[2]) else "'…'", text)


def _character_problem(error: yaml.reader.ReaderError, text: str, file: str) -> Problem:
    before = text[: error.position]
    return Problem(
        severity=Severity.ERROR,
        file=file,
        line=before.count("\n") + 1,
        column=len(before) - (before.rfind("\n") + 1) + 1,
        text="this is not YAML: control characters are not allowed",
    )


# --------------------------------------------------------------------------------------------------------------- building


class _Builder:
    """Turns the parser's nodes into ours. Each is built once, however many aliases name it."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._built: dict[int, Node] = {}
        self._open: set[int] = set()
        self._constructor = yaml.SafeLoader("")
        self._weights: dict[int, int] = {}

    def build(self, node: yaml.Node) -> Node:
        if id(node) in self._built:
            return self._built[id(node)]
        if id(node) in self._open:
            raise yaml.MarkedYAMLError(problem="an alias stands inside the value that it names", problem_mark=node.start_mark)
        self._open.add(id(node))
        built = self._built[id(node)] = self._make(node)
        self._open.discard(id(node))
        return built

    def _make(self, node: yaml.Node) -> Node:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return Fields(self._entries(node), line)
        if isinstance(node, yaml.SequenceNode):
            return Items(tuple(self.build(each) for each in node.value), line)
        assert isinstance(node, yaml.ScalarNode)
        return Scalar(self._value(node), node.value, line, quoted=node.style is not None)

    def _value(self, node: yaml.ScalarNode) -> Any:
        """The typed value; text, dates and whatever has a tag of its own stay text."""
        if node.tag not in _TYPED:
            return node.value
        try:
            return self._constructor.construct_object(node)
        except ValueError as error:  # a number of thousands of digits, or a tag that its text does not bear out
            raise yaml.MarkedYAMLError(problem="this is not a number", problem_mark=node.start_mark) from error

    def _entries(self, node: yaml.MappingNode) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _TAG + "merge":
                for name, entry in self._merge(value):
                    merged.setdefault(name, entry)
            elif not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key has to be a plain name", problem_mark=key.start_mark)
            elif key.value != SAMPLE:
                self._note_duplicate(key.value, entries.get(key.value), line)
                entries[key.value] = Entry(self.build(value), line)
        return {**merged, **entries}

    def _merge(self, value: yaml.Node) -> Iterator[tuple[str, Entry]]:
        """The entries that ``<<`` brings in: of one mapping, or of a list of them, of which the first counts."""
        built = self.build(value)
        for each in built.items if isinstance(built, Items) else (built,):
            if not isinstance(each, Fields):
                raise yaml.MarkedYAMLError(problem="only mappings can be merged by <<", problem_mark=value.start_mark)
            yield from each.entries.items()

    def _note_duplicate(self, name: str, earlier: Entry | None, line: int) -> None:
        if earlier is not None:
            text = f"stands twice, in lines {earlier.line} and {line}: the last one counts; remove one"
            self.problems.append(Problem(severity=Severity.WARNING, file=self._file, line=line, path=name, text=text))

    def weight(self, node: Node) -> int:
        """How many values the node holds when every alias is written out."""
        known = self._weights.get(id(node))
        if known is None:
            known = self._weights[id(node)] = 1 + sum(self.weight(each) for each in _children(node))
        return known


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, Fields):
        yield from (entry.node for entry in node.entries.values())
    elif isinstance(node, Items):
        yield from node.items
