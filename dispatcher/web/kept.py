"""The page as it was a moment ago, kept for everybody who looks: made at most once in a while, and what changed since then told.

A build knows its parts as HTML without ages, so that a part that did not change reads the same. The newest builds are kept, and
whoever names one is sent what differs from it; who names another is sent everything.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from dispatcher.frozen import dataclass
from dispatcher.web.overview import DECISIONS, Seen, overview
from dispatcher.web.shown import Wall
from dispatcher.web.view import View

FRESH_S = 0.25  # so long one build serves everybody ...
SHARE = 0.1  # ... and longer while builds would take more than this part of a processor
INFO = 20  # what is told of less is for the log
KEPT = 20  # builds that a viewer may still have: at one a second, those of a viewer who fell behind a little

Rows = dict[str, str]
"""Key → HTML, in the order in which they are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """``tag`` names what a viewer has, ``json_tag`` what a program has: the same as long as nothing that is told changes."""

    tag: str
    json_tag: str
    overview: Mapping[str, Any]
    parts: Mapping[str, str]
    rows: Mapping[str, Rows]
    made_s: float
    cost_s: float


@dataclass(slots=True)
class _Clock:
    """The wall as it is shown: moved only when it really moved, else a second would be written now so and now so."""

    offset_s: float | None = None

    def wall(self, offset_s: float) -> Wall:
        if self.offset_s is None or abs(offset_s - self.offset_s) > 0.5:
            self.offset_s = offset_s
        return Wall(self.offset_s)


@dataclass(slots=True)
class Kept:
    """``render`` makes the parts and rows of an overview. Safe from many threads."""

    view: View
    version: str
    render: Callable[[Seen, Mapping[str, Any]], tuple[dict[str, str], dict[str, Rows]]]
    _builds: OrderedDict[str, Build] = field(default_factory=OrderedDict)
    _clock: _Clock = field(default_factory=_Clock)
    _newest: Build | None = None
    _making: threading.Lock = field(default_factory=threading.Lock)

    def newest(self) -> Build:
        """Another thread that makes one is not waited for while there is one that will do."""
        if (found := self._good()) is not None:
            return found
        if self._newest is not None and not self._making.acquire(blocking=False):
            return self._newest
        if self._newest is None:
            self._making.acquire()
        try:
            return self._good() or self._make()
        finally:
            self._making.release()

    def changes(self, since: str) -> dict[str, Any]:
        """What a viewer who has the build ``since`` lacks; everything when that one is no longer known."""
        new, old = self.newest(), self._builds.get(since)
        told = {"tag": new.tag, "at": new.overview["at"], "level": new.overview["verdict"]["level"]}
        parts = {name: html for name, html in new.parts.items() if old is None or old.parts.get(name) != html}
        rows = {name: _rows_since(old.rows.get(name, {}) if old is not None else None, kept) for name, kept in new.rows.items()}
        return {**told, "parts": parts, "rows": {name: found for name, found in rows.items() if found}}

    def wall(self) -> Wall:
        return self._clock.wall(-self.view.monotonic(0.0))

    def seen(self) -> Seen:
        """A look at the dispatcher; it holds up nobody."""
        view, outlook = self.view, self.view.outlook()
        told = list(view.story.entries(limit=DECISIONS, level=INFO))
        return Seen(
            state=view.snapshot(), now_s=view.monotonic(), wall=self.wall(), verdict=outlook.verdict, groups=outlook.groups,
            entries=told, settings=view.settings(), calls=view.calls(), boots=view.boots(),
            version=self.version,
        )  # fmt: skip

    def _good(self) -> Build | None:
        made = self._newest
        fresh = made is not None and time.monotonic() - made.made_s < max(FRESH_S, made.cost_s / SHARE)
        return made if fresh else None

    def _make(self) -> Build:
        began_s, seen = time.thread_time(), self.seen()
        found = overview(seen)
        parts, rows = self.render(seen, found)
        told = {name: value for name, value in found.items() if name != "at"}
        made = Build(
            tag=_digest([parts, rows]), json_tag=_digest(told), overview=found, parts=parts, rows=rows,
            made_s=time.monotonic(), cost_s=time.thread_time() - began_s,
        )  # fmt: skip
        self._builds[made.tag] = self._newest = made
        self._builds.move_to_end(made.tag)
        while len(self._builds) > KEPT:
            self._builds.popitem(last=False)
        return made


def _rows_since(old: Rows | None, new: Rows) -> dict[str, Any]:
    """``order`` only when it is another one; ``changed`` holds what is new or different."""
    if old is None:
        return {"order": list(new), "changed": new}
    changed = {key: html for key, html in new.items() if old.get(key) != html}
    order = {} if list(old) == list(new) else {"order": list(new)}
    return {**order, "changed": changed} if changed or order else {}


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), digest_size=12).hexdigest()
