"""Reads single values out of a mapping and notes what is wrong with each, so that a site sees all its mistakes at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Problem = tuple[str, str]
"""(key below DriverParameters, what is wrong and how to mend it)"""

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_PART = re.compile(rf"(?:{_DURATION.pattern})+")
MAX_SECRET_BYTES = 65536
SYSTEMD = "credential:"  # ``credential:NAME`` is a file that systemd hands to the service


class Reader:
    """``given`` is the mapping; ``problems`` what was wrong with what was asked for so far."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.problems: list[Problem] = []
        self._asked: set[str] = set()

    def complain(self, name: str, text: str) -> None:
        self.problems.append((name, text))

    def complained(self, name: str) -> bool:
        return any(path == name for path, _ in self.problems)

    def refuse_unknown(self, who: str) -> None:
        for name in self.given:
            if str(name) not in self._asked:
                near = difflib.get_close_matches(str(name), self._asked, n=1)
                self.complain(str(name), f"{who} does not know this" + (f"; did you mean {near[0]}?" if near else ""))

    # ------------------------------------------------------------------------------------------------------------ values

    def value(self, name: str) -> Any:
        self._asked.add(name)
        return self.given.get(name)

    def text(
        self, name: str, *, default: str = "", required: bool = False, pattern: re.Pattern[str] | None = None
    ) -> str:
        value = self.value(name)
        if value is None or value == "":
            if required:
                self.complain(name, "is needed and missing")
            return default
        if not isinstance(value, str):
            self.complain(name, f"must be a text, not {value!r}")
            return default
        if pattern is not None and not pattern.fullmatch(value):
            self.complain(name, f"{value!r} does not have the form that Azure asks for")
        return value

    def texts(self, name: str, *, pattern: re.Pattern[str]) -> tuple[str, ...]:
        value = self.value(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            self.complain(name, "must be a list of texts")
            return ()
        words = [str(word) for word in value]
        for number, word in enumerate(words):
            if not pattern.fullmatch(word):
                self.complain(f"{name}.{number}", f"{word!r} does not have the form that Azure asks for")
        return tuple(dict.fromkeys(words))

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.value(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.complain(name, f"must be true or false, not {value!r}")
            return default
        return value

    def number(self, name: str, *, default: float = 0.0) -> float:
        value = self.value(name)
        if value is None:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            self.complain(name, f"must be a number from 0 on, not {value!r}")
            return default
        return float(value)

    def duration_s(self, name: str, *, default: float) -> float:
        """Seconds, from ``20s``, ``1m30s`` or a plain number of seconds."""
        value = self.value(name)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
        if isinstance(value, str) and _PART.fullmatch(value):
            return sum(float(amount) * _UNITS_S[unit] for amount, unit in _DURATION.findall(value))
        self.complain(name, f"{value!r} is no duration; write it like 20s or 1m30s")
        return default

    def choice(self, name: str, known: Sequence[str], *, default: str) -> str:
        value = self.text(name, default=default)
        if value not in known:
            self.complain(name, f"{value!r} is none of {', '.join(word for word in known if word)}")
            return default
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value = self.value(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.complain(name, f"must be a mapping, not {value!r}")
            return {}
        return {str(key): entry for key, entry in value.items()}

    def texts_by_name(self, name: str) -> dict[str, str]:
        found = self.mapping(name)
        for key in [key for key, entry in found.items() if not isinstance(entry, str)]:
            self.complain(f"{name}.{key}", "must be a text")
            del found[key]
        return found

    # ------------------------------------------------------------------------------------------------------------- files

    def file(self, name: str, *, required: bool = False) -> str:
        """A path that can be read; ``credential:NAME`` is one of systemd's."""
        path = _path_of(self.text(name, required=required))
        if path and not os.access(path, os.R_OK):
            self.complain(name, f"{path} cannot be read")
        return path

    def secret(self, name: str, file_name: str) -> str:
        """The value of ``name``, or what the file that ``file_name`` names holds. Never repeated in a problem."""
        value = self.value(name)
        if value is not None and not isinstance(value, str):
            self.complain(name, "must be a text")
            return ""
        path = self.file(file_name)
        if value and path:
            self.complain(file_name, f"give {name} or {file_name}, not both")
        return value or self._content(file_name, path)

    def _content(self, name: str, path: str) -> str:
        if not path or self.complained(name):
            return ""
        try:
            with Path(path).open("rb") as file:
                content = file.read(MAX_SECRET_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            self.complain(name, f"{path}: {type(error).__name__}: it must be a readable file with text")
            return ""
        if not content:
            self.complain(name, f"{path} is empty")
        return content


def _path_of(named: str) -> str:
    if not named.startswith(SYSTEMD):
        return named
    return os.path.join(os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials"), named.removeprefix(SYSTEMD))


def problems_text(problems: Sequence[Problem]) -> str:
    """The first problem stands for its key; the others are named after it."""
    (_, first), *others = problems
    return "; ".join([first, *(f"{path}: {text}" for path, text in others)])
