"""Logging set-up: one line per record on standard error, as JSON in the fields of the Arvados dispatcher or as text.

No secret reaches a line: what was registered is blanked in every part of a record, and so is whatever looks like a token in an
address or a header.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from dispatcher.runtime import audit
from dispatcher.runtime.audit_file import AuditFile
from dispatcher.runtime.times import rfc3339
from dispatcher.secrecy import BLANK, Known

TOKENS = re.compile(r"(?i)(api_token=|bearer +|oauth2 +)[^\s&\"',;]+")
SIGNS = ("api_token=", "bearer ", "oauth2 ")  # one of them stands in whatever TOKENS finds
LINE_CHARACTERS = 16_384
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Secrets(logging.Filter):
    """A filter for handlers that blanks what was registered."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._known = Known(secrets)

    def register(self, *secrets: str) -> None:
        self._known.register(*secrets)

    def blanked(self, text: str) -> str:
        return self._known.blank(in_headers(text))

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether there is anything to blank is seen by one look at all texts together: as a rule there is not."""
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        parts: dict[str, Plain] = {"msg": message(record), "exc_text": record.exc_text, "stack_info": record.stack_info}
        parts |= {name: _plain(value) for name, value in fields(record).items()}
        together = "\n".join(_texts(parts.values()))
        changed = self.blanked(together) != together
        record.exc_info, record.args = None, ()
        for name, value in parts.items():
            setattr(record, name, self._blanked_value(value) if changed else value)
        return True

    def _blanked_value(self, value: Plain) -> Plain:
        if isinstance(value, list):
            return [self._blanked_value(item) for item in value]
        return self.blanked(value) if isinstance(value, str) else value


_ROWS, _SIMPLE = (list, tuple), (str, int, float, type(None))  # a union would be made anew for each value
Plain = None | bool | int | float | str | list[Any]


def _plain(value: object) -> Plain:
    """As it is written down: what is no number, truth or row of such is a text."""
    if isinstance(value, _ROWS):
        return [_plain(item) for item in value]
    return value if isinstance(value, _SIMPLE) else str(value)


def _texts(values: Iterable[Plain]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):
            yield from _texts(value)
        elif isinstance(value, str):
            yield value


def in_headers(text: str) -> str:
    """Without what looks like a token in an address or a header."""
    small = text.lower()
    if not any(sign in small for sign in SIGNS):
        return text
    return TOKENS.sub(rf"\g<1>{BLANK}", text)


def message(record: logging.LogRecord) -> str:
    """The text, also when its arguments do not fit: an exception here would hit the thread that only wanted to log."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args}"


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in OWN_FIELDS}


_AS_JSON = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonLines(logging.Formatter):
    """One JSON object per line. A field of ours never gives way to an extra one of the same name."""

    def __init__(self, cluster_id: str) -> None:
        super().__init__()
        self._cluster_id = cluster_id

    def format(self, record: logging.LogRecord) -> str:
        line = {name: _bounded(value) for name, value in fields(record).items()}
        if trouble := _trouble(record):
            line["error"] = _bounded(trouble)
        line |= {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "msg": _bounded(record.getMessage()),
            "PID": record.process,
            "ClusterID": self._cluster_id,
            "thread": record.threadName,
        }
        return _AS_JSON(line)


class TextLines(logging.Formatter):
    """For terminals and for people who read the journal."""

    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {name}={value}" for name, value in fields(record).items())
        head = f"{rfc3339(record.created)[:23]}Z {record.levelname.lower():7} [{record.threadName}] "
        told = _bounded((record.getMessage() + extra).replace("\n", "\\n"))
        trouble = _trouble(record)
        return f"{head}{told}\n{_bounded(trouble)}" if trouble else head + told


def _trouble(record: logging.LogRecord) -> str:
    text = record.exc_text or (logging.Formatter().formatException(record.exc_info) if record.exc_info else "")
    return "\n".join(part for part in (text, record.stack_info or "") if part)


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LINE_CHARACTERS:
        return value[:LINE_CHARACTERS] + f" … ({len(value)} characters)"
    return value


def _audit_handler(path: str, blank: Secrets, cluster_id: str, ordinary: logging.Handler) -> AuditFile:
    """JSON lines, whatever the form of the ordinary log, which takes the decisions that cannot be written there."""
    handler = AuditFile(path, otherwise=ordinary.handle)
    handler.addFilter(blank)
    handler.setFormatter(JsonLines(cluster_id))
    return handler


def _set_up_audit(handler: AuditFile | None) -> None:
    for name in (audit.NAME, audit.NAME_OF_DECISIONS):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)  # whatever the level of the others: who did what is no chatter
        for old in [each for each in logger.handlers if isinstance(each, AuditFile)]:
            logger.removeHandler(old)
        if handler is not None:
            logger.addHandler(handler)


def set_up(
    *, form: str = "json", level: str = "info", cluster_id: str = "", secrets: Iterable[str] = (), stream: TextIO | None = None,
    audit_file: str = "",
) -> Secrets:  # fmt: skip
    """Every record of the process goes through one handler. Secrets that are learnt later are registered at what returns.
    Acts of operators and decisions that destroy go to ``audit_file``, if one is named; raises OSError when it cannot be
    written."""
    blank = Secrets(secrets)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(blank)
    handler.setFormatter(TextLines() if form == "text" else JsonLines(cluster_id))
    audit_handler = _audit_handler(audit_file, blank, cluster_id, handler) if audit_file else None
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(LEVELS.get(level.lower(), logging.INFO))
    _set_up_audit(audit_handler)
    for chatty in ("paramiko", "urllib3", "azure"):  # they tell of every packet at info
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    return blank
