"""One sentence about what happened and why, with whom it concerns: what logs and pages are made of."""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping
from dataclasses import field

from dispatcher.frozen import dataclass

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR


class Kind(enum.StrEnum):
    """What a sentence is about."""

    CONTAINER = "container"
    INSTANCE = "instance"
    PROCESS = "process"
    CLOUD = "cloud"
    QUEUE = "queue"
    LEADER = "leader"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class Moment:
    """A monotonic time among the fields of a sentence: whoever has a clock shows it as UTC."""

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """``container`` is a uuid, ``instance`` our name of one. ``fields`` go into the log, named as upstream names them."""

    text: str
    kind: Kind
    level: int = INFO
    container: str | None = None
    instance: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
