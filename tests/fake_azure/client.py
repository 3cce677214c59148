"""A client without a socket: requests as values to an account, with a good token. For tests of the fake and for benches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.fake_azure.account import Account, Answer
from tests.fake_azure.bodies import API, machine_body
from tests.fake_azure.judge import Request

NETWORK_API, DISK_API = "2024-05-01", "2024-03-02"
KINDS = {
    "vm": ("Microsoft.Compute/virtualMachines", API),
    "card": ("Microsoft.Network/networkInterfaces", NETWORK_API),
    "disk": ("Microsoft.Compute/disks", DISK_API),
    "address": ("Microsoft.Network/publicIPAddresses", NETWORK_API),
}


class Client:
    def __init__(self, account: Account) -> None:
        self.account = account
        self.log_in()

    def log_in(self) -> None:
        self._token = self.account.login.new_token()["access_token"]

    def send(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **query: str) -> Answer:
        """``path`` below the resource group's providers, or an absolute one."""
        if not path.startswith("/"):
            path = f"{self.account.site.base(self.account.site.group)}/{path}"
        known = {"authorization": f"Bearer {self._token}", "content-type": "application/json", **(headers or {})}
        asked = {"api-version": API, **{name.replace("_", "-"): value for name, value in query.items()}}
        return self.account.answer(Request(method=method, path=path, query=asked, headers=known, body=body))

    def follow(self, url: str) -> Answer:
        """A nextLink or the address of an operation."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        headers = {"authorization": f"Bearer {self._token}"}
        return self.account.answer(Request(method="GET", path=unquote(parts.path), query=query, headers=headers))

    def create(self, name: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        asked = machine_body(name, self.account.site) if body is None else body
        return self.send("PUT", f"Microsoft.Compute/virtualMachines/{name}", asked, headers)

    def get(self, kind: str, name: str) -> Answer:
        path, version = KINDS[kind]
        return self.send("GET", f"{path}/{name}", api_version=version)

    def delete(self, kind: str, name: str) -> Answer:
        path, version = KINDS[kind]
        return self.send("DELETE", f"{path}/{name}", api_version=version)

    def page(self, kind: str) -> Answer:
        path, version = KINDS[kind]
        return self.send("GET", path, api_version=version)

    def names(self, kind: str) -> list[str]:
        """Of all pages."""
        answer = self.page(kind)
        names = [row["name"] for row in answer.body["value"]]
        while "nextLink" in answer.body:
            answer = self.follow(answer.body["nextLink"])
            names += [row["name"] for row in answer.body["value"]]
        return names

    def state(self, name: str) -> str:
        """The provisioning state of a machine; "gone" when there is none."""
        answer = self.get("vm", name)
        return answer.body["properties"]["provisioningState"] if answer.status == 200 else "gone"


def code_of(answer: Answer) -> str:
    """The code of a refusal, with or without the outer member."""
    body = answer.body if isinstance(answer.body, dict) else {}
    code: str = body.get("error", body).get("code", "")
    return code
