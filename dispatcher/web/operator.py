"""What an operator may ask of instances and containers: hold, drain, run and kill, each posted as an event.

The core decides what comes of it. Here it is made sure that the thing exists, said what it was when the act reached it, and
written down who asked, when, why and from where.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Blueprint, Response, g, jsonify, request

from dispatcher.core.messages import ContainerKillRequested, Event, IdleBehaviorSet, InstanceKillRequested
from dispatcher.core.model import IdleBehavior, Instance, ProcessPhase, State
from dispatcher.web import parameters
from dispatcher.web.errors import Refused
from dispatcher.web.parameters import Asked
from dispatcher.web.selection import Selection
from dispatcher.web.upstream import running, worker_state
from dispatcher.web.view import View

PREFIX = "/arvados/v1/dispatch"
MISSING = {"kill": "instance not found"}  # upstream's words
NO_REASON = "killed by an operator"


def blueprint(desk: Desk) -> Blueprint:
    made = Blueprint("operator", __name__, url_prefix=PREFIX)

    @made.post("/instances/<any(hold, drain, run, kill):act>")
    def instances(act: str) -> Response:
        with desk.noting(act):
            return desk.instances(act)

    @made.post("/containers/kill")
    def kill_container() -> Response:
        with desk.noting("kill container"):
            return desk.kill_container()

    return made


class Desk:
    """Acts are done one at a time, so that what an answer says was before is what was before."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._turn = threading.Lock()

    @contextmanager
    def noting(self, act: str) -> Iterator[None]:
        """A refusal stands in the audit log too, with what was asked."""
        try:
            yield
        except Refused as refused:
            if parameters.is_preview():
                raise
            wanted = [f"{name}={value}" for name in ("instance_id", *parameters.SELECTORS, "container_uuid")
                      for value in request.values.getlist(name)]  # fmt: skip
            self._write(
                act, parameters.actor(), request.values.get("reason", ""), refused.status, Error=refused.text, Asked=wanted
            )
            raise

    def _write(self, act: str, actor: str, reason: str, status: int, **fields: Any) -> None:
        """One line of the audit log."""
        self._view.audit(
            {
                "Act": act, "Actor": actor, "Reason": reason, "Status": status, "RemoteAddr": parameters.came_from(),
                "ForwardedFor": request.headers.get("X-Forwarded-For", ""), "RequestID": g.get("request_id", ""), **fields,
            }
        )  # fmt: skip

    # -- instances

    def instances(self, act: str) -> Response:
        chosen = selection()
        asked = parameters.asked(act, self._view)
        plain = parameters.is_plain()
        if not plain:
            parameters.refuse_unknown()
        items = self.act_on_instances(asked, chosen)
        if plain and items[0]["outcome"] == "gone":
            raise Refused(404, MISSING.get(act, "requested instance does not exist"))
        if plain and not (act == "kill" and items[0]["held"]):
            return done()
        return jsonify(act=act, preview=asked.preview, until=asked.until, items=items)

    def act_on_instances(self, asked: Asked, chosen: Selection) -> list[dict[str, Any]]:
        """Do it, or say what would be done; an item for each instance."""
        with self._turn:
            found = chosen.find(leading(self._view.snapshot()), MISSING.get(asked.act, "requested instance does not exist"))
            return [self._act_on(instance, asked, chosen) for instance in found]

    def _act_on(self, instance: Instance, asked: Asked, chosen: Selection) -> dict[str, Any]:
        """Do it to one instance, as it is now: it may have changed or gone since it was selected."""
        now = self._view.snapshot().instances.get(instance.name)
        if now is None or not chosen.matches(now):
            return item(now or instance, "gone" if now is None else "changed meanwhile, left alone")
        if asked.preview:
            return item(now, "would be done")
        self._view.post(event_of(asked, now))
        after = self._view.snapshot().instances.get(now.name)
        told = item(now, "done" if after is not None else "gone")
        status = 200 if after is not None else 404
        self._write(
            asked.act, asked.actor, asked.reason, status, Until=asked.until, Instance=told["instance"], InstanceName=now.name,
            InstanceType=now.type, State=told["worker_state"], IdleBehavior=told["idle_behavior"], Held=told["held"],
            RunningContainers=told["running_container_uuids"], Outcome=told["outcome"],
        )  # fmt: skip
        return told

    # -- containers

    def kill_container(self) -> Response:
        uuid = parameters.one("container_uuid")
        asked = parameters.asked("kill", self._view)
        told = self.act_on_container(asked, uuid)
        if not asked.preview and not parameters.wants_json():
            return done()
        return jsonify(act="kill", preview=asked.preview, container_uuid=uuid, items=[told])


    def act_on_container(self, asked: Asked, uuid: str) -> dict[str, Any]:
        """Kill it, or say where it would be killed."""
        with self._turn:
            instance = where_it_runs(leading(self._view.snapshot()), uuid)
            if instance is None:
                raise Refused(404, "container not found")
            told = item(instance, "would be done" if asked.preview else "done")
            if not asked.preview:
                self._view.post(ContainerKillRequested(uuid=uuid, reason=asked.reason or NO_REASON, actor=asked.actor))
                self._write(
                    "kill container", asked.actor, asked.reason, 200, ContainerUUID=uuid, Instance=told["instance"],
                    InstanceName=instance.name, State=told["worker_state"], Held=told["held"], Outcome="done",
                )  # fmt: skip
        return told


def selection() -> Selection:
    """What the request names or selects; something it has to."""
    chosen = Selection(
        ids=parameters.several("instance_id"),
        types=parameters.several("instance_type"),
        states=parameters.several("state"),
        behaviors=parameters.several("idle_behavior"),
    )
    if chosen == Selection():
        raise Refused(400, "instance_id parameter not provided")
    return chosen


def leading(state: State) -> State:
    """What is asked of a dispatcher that does not lead would be forgotten; one that has just begun to does not know yet what
    there is."""
    if not state.leadership.leading:
        holder = state.leadership.holder or "not known"
        raise Refused(503, f"this dispatcher does not lead, ask the one that does: {holder}")
    if state.cloud.listed_s < state.leadership.since_s:
        raise Refused(503, "the instances are not known yet, ask again when health is OK")
    return state


def event_of(asked: Asked, instance: Instance) -> Event:
    if asked.act == "kill":
        return InstanceKillRequested(name=instance.name, reason=asked.reason or NO_REASON, actor=asked.actor)
    return IdleBehaviorSet(
        name=instance.name, behavior=IdleBehavior(asked.act), actor=asked.actor, reason=asked.reason, at=asked.at,
        until=asked.until, until_s=asked.until_s,
    )  # fmt: skip


def item(instance: Instance, outcome: str) -> dict[str, Any]:
    """An instance as the act found it."""
    return {
        "instance": instance.id or "",
        "instance_name": instance.name,
        "arvados_instance_type": instance.type,
        "worker_state": worker_state(instance),
        "idle_behavior": instance.idle_behavior.value,
        "held": instance.idle_behavior is IdleBehavior.HOLD,
        "running_container_uuids": running(instance),
        "outcome": outcome,
    }


def where_it_runs(state: State, uuid: str) -> Instance | None:
    """The instance with a process of the container. One that only has a place somewhere has nothing that could be killed."""
    for instance in state.instances.values():
        process = instance.processes.get(uuid)
        if process is not None and process.phase is not ProcessPhase.ENDED:
            return instance
    return None


def done() -> Response:
    return Response("", 200, mimetype="text/plain")
