"""What the tests of the Azure driver share: good parameters, requests, and a transport that answers from a list of our own."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from dispatcher.driver import Call, CreateRequest, DriverSettings, InstanceType
from drivers.azure.boot import KeyPair
from drivers.azure.driver import AzureDriver
from drivers.azure.parameters import Parameters, parse

SET_ID = "zzzzz-set"
SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
NAME = f"compute-{SET_ID}-abcdefghij01234"
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAA operator"
HOST_KEY = KeyPair(
    public="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", private="-----BEGIN OPENSSH PRIVATE KEY-----\nnever shown\n-----END\n"
)
NOBODY = "ssh-rsa AAAAnobody"
ARM = "https://arm.example"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/compute"
VM_ID = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/{NAME}"
GIVEN: dict[str, Any] = {
    "SubscriptionID": SUBSCRIPTION,
    "TenantID": "tenant",
    "ClientID": "client",
    "ClientSecret": "hush-hush",
    "ResourceGroup": "compute",
    "Network": "vnet",
    "Subnet": "default",
    "ARMEndpoint": ARM,
}
TYPE = InstanceType(name="small", provider_type="Standard_D2s_v5", vcpus=2, ram_bytes=8 << 30, price=0.1)
SPOT = InstanceType(name="spot", provider_type="Standard_D2s_v5", vcpus=2, ram_bytes=8 << 30, price=0.1, preemptible=True)
SCRATCH = InstanceType(name="s", provider_type="Standard_D2s_v5", vcpus=2, ram_bytes=8 << 30, added_scratch_bytes=(50 << 30) + 1)
TAGS = {"ArvadosInstanceSetID": SET_ID, "ArvadosInstanceType": "small", "ArvadosInstanceSecret": "5ec2e7"}


def parameters(**changes: Any) -> Parameters:
    return parse({**GIVEN, **changes})


def request(
    name: str = NAME, *, instance_type: InstanceType = TYPE, image: str = "image", key: str | None = RSA
) -> CreateRequest:
    return CreateRequest(
        name=name,
        instance_type=instance_type,
        image_id=image,
        tags=TAGS,
        init_script="#!/bin/sh\necho site\n",
        public_key=key,
        created_at="2026-01-02T03:04:05Z",
    )


def call(timeout_s: float = 60.0) -> Call:
    return Call(timeout_s=timeout_s)


class Sent:
    """A request that reached the transport."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> None:
        self.method, self.url, self.headers, self.body = method, url, dict(headers), body
        self.path = urlsplit(url).path

    def __repr__(self) -> str:
        return f"{self.method} {self.path}"


class Reply:
    """What the transport answers: JSON, or a text that is none; or an exception to raise."""

    def __init__(
        self, status: int = 200, body: Any = None, headers: Mapping[str, str] | None = None, error: Exception | None = None
    ) -> None:
        self.status, self.headers, self.error = status, dict(headers or {}), error
        self.raw = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        self.kind = "text/html" if isinstance(body, str) else "application/json"


def refused(status: int, code: str, message: str = "", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"error": {"code": code, "message": message}}, named)


def vm(name: str = NAME, *, tags: Mapping[str, str] | None = None, state: str = "Succeeded", **more: Any) -> dict[str, Any]:
    """A machine as a list shows it, its group's name in another case."""
    card = f"{GROUP.upper()}/providers/Microsoft.Network/networkInterfaces/{name}-nic"
    return {
        "id": VM_ID.replace(NAME, name).replace("compute/providers", "COMPUTE/providers"),
        "name": name,
        "tags": dict(TAGS if tags is None else tags),
        "properties": {
            "provisioningState": state,
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "timeCreated": "2026-01-02T03:04:05Z",
            "networkProfile": {"networkInterfaces": [{"id": card}]},
        },
        **more,
    }


def card(machine: str = NAME, *, address: str = "10.0.0.4", free: bool = False, **more: Any) -> dict[str, Any]:
    """Its network card, attached unless ``free``."""
    properties: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "ipConfigurations": [{"name": "ip1", "properties": {"primary": True, "privateIPAddress": address}}],
    }
    if not free:
        properties["virtualMachine"] = {"id": VM_ID.replace(NAME, machine)}
    return {
        "id": f"{GROUP}/providers/Microsoft.Network/networkInterfaces/{machine}-nic",
        "name": f"{machine}-nic",
        "properties": properties,
        **more,
    }


def settings(given: Mapping[str, Any] | None = None) -> DriverSettings:
    log = logging.getLogger("test.azure")
    return DriverSettings(parameters=given or GIVEN, instance_set_id=SET_ID, tag_prefix="Arvados", log=log)


def driver_on(answer: Callable[[Sent], Reply], **changes: Any) -> tuple[AzureDriver, list[Sent]]:
    """The driver on the real SDK's pipeline, whose transport asks ``answer``; and what was sent."""
    from azure_transport import FakeCredential, FakeTransport

    from drivers.azure.arm import Arm

    transport = FakeTransport(answer)
    given = parameters(**changes)
    arm = Arm(given, FakeCredential, stopwatch=lambda: 0.0, transport=transport)
    return AzureDriver(settings(), given, arm, host_key=lambda: HOST_KEY, nobodys_key=lambda: NOBODY), transport.sent
