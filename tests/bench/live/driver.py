"""The driver of the rig's cloud: the smallest that there can be, over HTTP."""

from __future__ import annotations

import threading
from typing import Any

import requests

from dispatcher.driver import (
    Call,
    Capabilities,
    CloudError,
    Created,
    CreateRequest,
    DriverSettings,
    Instance,
    Listing,
)


class RigDriver:
    capabilities = Capabilities(create_is_idempotent=False)

    def __init__(self, url: str, settings: DriverSettings) -> None:
        self._url, self._prefix = url, settings.tag_prefix
        self._mine = (f"{settings.tag_prefix}InstanceSetID", settings.instance_set_id)
        self._own = threading.local()

    def _ask(self, verb: str, call: Call, **fields: Any) -> dict[str, Any]:
        session = getattr(self._own, "session", None) or requests.Session()
        session.trust_env = False
        self._own.session = session
        try:
            answer = session.post(f"{self._url}/rig/{verb}", json=fields, timeout=call.timeout_s)
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
        except requests.RequestException as error:
            raise CloudError(str(error)) from error
        return found

    def create(self, request: CreateRequest, call: Call) -> Created:
        secret = request.tags.get(f"{self._prefix}InstanceSecret", "")
        made = self._ask(
            "create", call, name=request.name, type=request.instance_type.provider_type, tags=dict(request.tags),
            secret=secret, public_key=request.public_key,
        )  # fmt: skip
        return Created(id=made["id"])

    def list(self, call: Call) -> Listing:
        key, value = self._mine
        shown = [each for each in self._ask("list", call)["machines"] if each["tags"].get(key) == value]
        return Listing(
            instances=tuple(
                Instance(
                    id=each["id"], name=each["name"], provider_type=each["type"], address=each["address"], user="root",
                    tags=each["tags"],
                )
                for each in shown
            )
        )  # fmt: skip

    def destroy(self, instance_id: str, call: Call) -> None:
        self._ask("destroy", call, id=instance_id)

    def set_tags(self, instance_id: str, tags: dict[str, str], call: Call) -> None:
        self._ask("tag", call, id=instance_id, tags=dict(tags))


def open(settings: DriverSettings) -> RigDriver:
    return RigDriver(str(settings.parameters["URL"]), settings)
