"""Acts from the pages, in three steps: what would happen, the reason, and what came of it. Works without JavaScript.

The act itself is the one of the management API. What was not shown before is not done: an instance that has got other work than
the page showed is left alone by a kill. A page that is loaded or sent again does nothing twice.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, make_response, redirect, render_template, request
from werkzeug.wrappers import Response

from dispatcher.core.model import Instance, State
from dispatcher.core.notes import one_line
from dispatcher.frozen import dataclass
from dispatcher.web import auth, effects, parameters
from dispatcher.web.auth import has_form_key, viewer
from dispatcher.web.effects import KILL, TITLES, Row
from dispatcher.web.errors import Refused
from dispatcher.web.operator import Desk, leading, selection, where_it_runs
from dispatcher.web.parameters import Asked, several
from dispatcher.web.selection import Selection
from dispatcher.web.view import View

PATH = "/act"
TEXT_CHARACTERS = 500
RESULTS = 20  # pages of what was done that can be looked at again
NO_REASON = "Say why: it is what everybody will ask, and it stands in the audit log."


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of an act."""

    asked: Asked
    items: tuple[dict[str, Any], ...]


class Results:
    """The last ones, by the mark of the form that asked for them."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self._kept: OrderedDict[str, Done] = OrderedDict()

    def find(self, mark: str) -> Done | None:
        return self._kept.get(mark)

    def keep(self, mark: str, done: Done) -> None:
        self._kept[mark] = done
        if len(self._kept) > RESULTS:
            self._kept.popitem(last=False)


def blueprint(view: View, desk: Desk) -> Blueprint:
    made = Blueprint("acts", __name__)
    results = Results()
    made.add_app_template_global(act_link, "act_link")
    made.add_app_template_filter(plain, "plain")

    @made.before_request
    def only_who_may() -> None:
        if not viewer().may_act:
            raise Refused(403, auth.READS_ONLY.strip())

    @made.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        return make_response(render_template("refused.html", problem=error.text), error.status)

    @made.route(PATH, methods=["GET", "POST"])
    def act() -> Response:
        if request.method == "POST" and request.form.get("step") == "confirm":
            return confirmed(view, desk, results)
        return preview(view)

    @made.get(PATH + "/done")
    def done() -> Response:
        found = results.find(request.args.get("id", ""))
        if found is None:
            raise Refused(404, "this result is no longer kept: the audit log and the pages of the instances tell what was done")
        return make_response(render_template("done.html", done=found, titles=TITLES, summary=told(found)))

    return made


def preview(view: View, problem: str = "") -> Response:
    """What would be done, to what, and the form that does it."""
    act, state = which_act(), leading(view.snapshot())
    uuids = several("container_uuid")
    if uuids:
        rows = [effects.of_container(state, uuid, where_it_runs(state, uuid)) for uuid in uuids]
    else:
        rows = [effects.of_instance(act, instance) for instance in meant(state)]
    page = render_template(
        "act.html", act=act, title=TITLES[act], rows=rows, summary=effects.summary(act, rows), problem=problem,
        mark=secrets.token_urlsafe(9), form=request.form, seen=seen_of(rows), of_containers=bool(uuids),
        can_confirm=any(row.instance for row in rows),
    )  # fmt: skip
    return make_response(page, 400 if problem else 200)


def meant(state: State) -> list[Instance]:
    """What went since the page with the boxes was made is left out, unless nothing remains."""
    chosen = replace(selection(), forgiving=True)
    found = [instance for instance in chosen.find(state, "") if chosen.matches(instance)]
    if not found and chosen.ids:
        raise Refused(404, "there is no such instance: it may have gone meanwhile")
    return found


def plain(text: object) -> str:
    """Text from outside in one line of bounded length, without control characters."""
    return one_line(str(text or ""), TEXT_CHARACTERS)


def act_link(act: str, **what: str) -> str:
    return f"{PATH}?{urlencode({'act': act, **what})}"


def confirmed(view: View, desk: Desk, results: Results) -> Response:
    if viewer().by_browser and not has_form_key(request, viewer()):
        raise Refused(403, auth.STALE_FORM.strip())
    mark = request.form.get("mark", "")[:40] or secrets.token_urlsafe(9)
    with results.turn:
        if results.find(mark) is None:
            problem = do(view, desk, results, mark)
            if problem:
                return preview(view, problem)
    return redirect(f"{PATH}/done?id={mark}", 303)


def do(view: View, desk: Desk, results: Results, mark: str) -> str:
    """Do it and keep what came of it, or say what is wrong with the form."""
    act, uuids = which_act(), several("container_uuid")
    if not request.form.get("reason", "").strip():
        return NO_REASON
    try:
        asked = parameters.asked(act, view, of_a_form=True)
    except Refused as refused:
        return refused.text
    with desk.noting("kill container" if uuids else act):
        items = on_containers(desk, asked, uuids) if uuids else on_instances(desk, asked)
    results.keep(mark, Done(asked=asked, items=tuple(items)))
    return ""


def on_instances(desk: Desk, asked: Asked) -> list[dict[str, Any]]:
    """Those that the form names: whatever else is like them now was not shown."""
    names = several("instance_id")
    if not names:
        raise Refused(400, "nothing is chosen")
    seen = frozenset(request.form.getlist("seen")) if asked.act == KILL else None
    items = desk.act_on_instances(asked, Selection(ids=names, forgiving=True, seen=seen))
    there = {item["instance_name"] for item in items}
    there |= {item["instance"] for item in items}
    return [*items, *({"instance_name": name, "outcome": "gone already"} for name in names if name not in there)]


def on_containers(desk: Desk, asked: Asked, uuids: tuple[str, ...]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for uuid in uuids:
        try:
            items.append({**desk.act_on_container(asked, uuid), "container_uuid": uuid})
        except Refused as refused:
            if refused.status != 404:
                raise
            items.append({"container_uuid": uuid, "outcome": "runs nowhere: nothing was done"})
    return items


def which_act() -> str:
    act = parameters.one("act")
    if act not in TITLES:
        raise Refused(400, f"unknown act {act[:40]}: it can be {', '.join(TITLES)}")
    if several("container_uuid") and act != KILL:
        raise Refused(400, f"a container can be killed, and nothing else: {act} is for instances")
    return act


def seen_of(rows: list[Row]) -> list[str]:
    return sorted({uuid for row in rows if not row.container for uuid in row.uuids})


def told(done: Done) -> str:
    did = sum(item["outcome"] == "done" for item in done.items)
    what = "container" if any("container_uuid" in item for item in done.items) else "instance"
    left = len(done.items) - did
    rest = f" {effects.counted(left, 'was', 'were')} left alone." if left else ""
    return f"{TITLES[done.asked.act]}: done for {effects.counted(did, what)}.{rest}"
