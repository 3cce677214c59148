"""What an operator may ask of instances and containers: hold, drain, run and kill, each posted as an event.

The core decides what comes of it. Here it is only made sure that the thing exists, and noted who asked, when and why.
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from dispatcher.core.messages import ContainerKillRequested, IdleBehaviorSet, InstanceKillRequested
from dispatcher.core.model import IdleBehavior, Instance, ProcessPhase, State
from dispatcher.web.errors import Refused
from dispatcher.web.view import View

PREFIX = "/arvados/v1/dispatch"
REASON_CHARACTERS = 500


def blueprint(view: View) -> Blueprint:
    made = Blueprint("operator", __name__, url_prefix=PREFIX)

    @made.post("/instances/<any(hold, drain, run):behavior>")
    def set_idle_behavior(behavior: str) -> Response:
        instance = asked_instance(view.snapshot(), "requested instance does not exist")
        view.post(
            IdleBehaviorSet(
                name=instance.name, behavior=IdleBehavior(behavior), actor=actor(), reason=reason(""), at=view.utc()
            )
        )
        return done()

    @made.post("/instances/kill")
    def kill_instance() -> Response:
        instance = asked_instance(view.snapshot(), "instance not found")
        view.post(InstanceKillRequested(name=instance.name, reason=reason("killed by an operator"), actor=actor()))
        return done()

    @made.post("/containers/kill")
    def kill_container() -> Response:
        uuid = parameter("container_uuid")
        if not has_a_place(view.snapshot(), uuid):
            raise Refused(404, "container not found")
        view.post(ContainerKillRequested(uuid=uuid, reason=reason("killed by an operator"), actor=actor()))
        return done()

    return made


def asked_instance(state: State, missing: str) -> Instance:
    """The instance that the request names by its cloud id, or by our own name while it has none."""
    wanted = parameter("instance_id")
    by_name = state.instances.get(wanted)
    if by_name is not None:
        return by_name
    for instance in state.instances.values():
        if instance.id == wanted:
            return instance
    raise Refused(404, missing)


def has_a_place(state: State, uuid: str) -> bool:
    """Bound to an instance, or a process there."""
    container = state.containers.get(uuid)
    if container is not None and container.instance is not None:
        return True
    processes = (instance.processes.get(uuid) for instance in state.instances.values())
    return any(process is not None and process.phase is not ProcessPhase.ENDED for process in processes)


def parameter(name: str) -> str:
    value = request.values.get(name, "")
    if not value:
        raise Refused(400, f"{name} parameter not provided")
    return value


def reason(default: str) -> str:
    return request.values.get("reason", "")[:REASON_CHARACTERS] or default


def actor() -> str:
    """The token is shared, so the address is all that is known of who asked."""
    return f"management API from {request.remote_addr or 'a local socket'}"


def done() -> Response:
    return Response("", 200, mimetype="text/plain")
