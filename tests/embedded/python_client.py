"""A script for the interpreter that has the real Arvados client: it uses the queue of its environment and prints what it saw."""

from __future__ import annotations

import json
import re
from typing import Any

import arvados
import arvados.errors
import arvados.util

WORK = {
    "command": ["true"],
    "container_image": "image",
    "output_path": "/out",
    "mounts": {"/out": {"kind": "tmp", "capacity": 1}},
    "runtime_constraints": {"vcpus": 1, "ram": 1},
    "priority": 1,
    "state": "Committed",
    "use_existing": False,
}


def refusal(call: Any) -> tuple[int, str]:
    try:
        call.execute()
    except arvados.errors.ApiError as error:
        return int(error.resp.status), str(error)
    return 200, ""


def main() -> None:
    api = arvados.api("v1")
    requests = [api.container_requests().create(body={"container_request": WORK}).execute() for _ in range(3)]
    uuids = [each["container_uuid"] for each in requests]
    uuid = uuids[0]
    waiting = api.containers().list(filters=[["uuid", "=", uuid]], select=["uuid", "state"], order=["priority desc"]).execute()
    assert waiting["items"] == [{"kind": "arvados#container", "uuid": uuid, "state": "Queued"}], waiting
    api.containers().lock(uuid=uuid).execute()
    _, text = refusal(api.containers().lock(uuid=uuid))
    api.containers().auth(uuid=uuid).execute()
    api.containers().update(uuid=uuid, body={"container": {"state": "Running"}}).execute()
    end = {"state": "Complete", "exit_code": 0, "cost": 0.25}
    container = api.containers().update(uuid=uuid, body={"container": end}).execute()
    many = [*uuids, *(f"zzzzz-dz642-{number:015d}" for number in range(300))]  # long enough to be sent as a POST
    keyset = list(arvados.util.keyset_list_all(api.containers().list, filters=[["uuid", "in", many]]))
    saw = {
        "state": api.container_requests().get(uuid=requests[0]["uuid"]).execute()["state"],
        "exit_code": container["exit_code"],
        "cost": container["cost"],
        "refused": re.search(r"cannot lock when \w+", text).group(0),
        "missing": refusal(api.containers().get(uuid="zzzzz-dz642-xxxxxxxxxxxxxxx"))[0],
        "keyset": len(keyset),
        "user": api.users().current().execute()["uuid"],
        "token": api.api_client_authorizations().current().execute()["uuid"],
    }
    print(json.dumps(saw))


if __name__ == "__main__":
    main()
