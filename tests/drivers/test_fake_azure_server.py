"""The fake Azure on a real socket: the real SDK logs in, makes, lists and deletes over TLS; wires break; it runs alone."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ssh_client import wait_until

from drivers.ssh_server import authorized_words, load_private_key, new_private_key
from drivers.stub import StubKnobs
from tests.fake_azure.account import Account
from tests.fake_azure.bodies import API, KEY, machine_body
from tests.fake_azure.client import Client
from tests.fake_azure.faults import Mishap
from tests.fake_azure.knobs import Knobs
from tests.fake_azure.machines import SSHMachines, accounts_of, custom_data_of, host_key_in
from tests.fake_azure.server import AzureServer

ROOT = Path(__file__).parents[2]
NAME = "vm-1"
WHY = "azure-mgmt-compute and azure-identity are not installed: pip install '.[azure]'"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AzureServer]:
    account = Account(now=time.monotonic, knobs=Knobs.kind(page_size=2, retry_after_s=0))
    with AzureServer(account, tmp_path) as running:
        yield running


def credential(server: AzureServer, **changes: Any) -> Any:
    identity = pytest.importorskip("azure.identity", reason=WHY)
    said = server.description() | changes
    return identity.ClientSecretCredential(
        said["tenant"],
        said["client_id"],
        said["client_secret"],
        authority=said["authority"],
        disable_instance_discovery=True,
        connection_verify=said["ca_file"],
    )


@pytest.fixture
def sdk(server: AzureServer) -> Iterator[Any]:
    compute = pytest.importorskip("azure.mgmt.compute", reason=WHY)
    said = server.description()
    login = credential(server)
    client = compute.ComputeManagementClient(
        login,
        said["subscription"],
        base_url=said["endpoint"],
        credential_scopes=[f"{said['endpoint']}/.default"],
        connection_verify=said["ca_file"],
        retry_total=0,
    )
    with login, client:
        yield client


def test_the_sdk_makes_lists_and_deletes_machines(server: AzureServer, sdk: Any) -> None:
    """Every model the SDK knows can read what the fake answers; paging and waiting are the SDK's own."""
    group, machines = server.account.site.group, sdk.virtual_machines
    for number in range(5):
        body = machine_body(f"vm-{number}", server.account.site)
        made = machines.begin_create_or_update(group, f"vm-{number}", body, polling=False, api_version=API).result()
        assert made.provisioning_state in ("Creating", "Succeeded")
    assert [machine.name for machine in machines.list(group, api_version=API)] == [f"vm-{number}" for number in range(5)]
    machines.begin_update(group, NAME, {"tags": {"a": "b"}}, polling=False, api_version=API).result()
    seen = machines.get(group, NAME, api_version=API, expand="instanceView")
    assert (seen.tags, seen.instance_view.statuses[0].code) == ({"a": "b"}, "ProvisioningState/succeeded")
    for number in range(5):
        machines.begin_delete(group, f"vm-{number}", force_deletion=True, api_version=API, polling_interval=0).wait(30)
    assert server.account.left() == []
    assert server.account.judge.violations == []
    assert {usage.name.value for usage in sdk.usage.list("eastus", api_version=API)} >= {"cores", "lowPriorityCores"}
    assert {sku.family for sku in sdk.resource_skus.list(filter="location eq 'eastus'")} >= {"standardDSv5Family"}


def test_the_sdks_own_default_version_is_refused(server: AzureServer, sdk: Any) -> None:
    """A client pins the version that it was tested with; what the SDK sends by itself changes with every release."""
    errors = pytest.importorskip("azure.core.exceptions", reason=WHY)
    with pytest.raises(errors.HttpResponseError) as raised:
        list(sdk.virtual_machines.list(server.account.site.group))
    assert raised.value.status_code == 400
    assert "api-version" in server.account.judge.violations[0].text


def test_a_wrong_secret_is_told_as_azure_tells_it(server: AzureServer) -> None:
    """The code in the text is all that an operator has."""
    errors = pytest.importorskip("azure.core.exceptions", reason=WHY)
    scope = f"{server.url}/.default"
    with (
        credential(server, client_secret="wrong") as wrong,
        pytest.raises(errors.ClientAuthenticationError, match="AADSTS7000215"),
    ):
        wrong.get_token(scope)
    with credential(server, client_id="wrong") as wrong, pytest.raises(errors.ClientAuthenticationError, match="AADSTS700016"):
        wrong.get_token(scope)
    server.account.login.secret_expired = True
    with credential(server) as expired, pytest.raises(errors.ClientAuthenticationError, match="AADSTS7000222"):
        expired.get_token(scope)


@pytest.mark.parametrize(
    ("mishap", "made"), [(Mishap.DROPPED_BEFORE, 0), (Mishap.DROPPED_AFTER, 1), (Mishap.BAD_GATEWAY, 0), (Mishap.HTML_AFTER, 1)]
)
def test_answers_are_lost_on_the_wire(server: AzureServer, sdk: Any, mishap: Mishap, made: int) -> None:
    """A broken connection or a page of HTML, before or after the act: the SDK raises, the account knows."""
    errors = pytest.importorskip("azure.core.exceptions", reason=WHY)
    server.account.mishaps.plant("create vm", mishap)
    body = machine_body(NAME, server.account.site)
    with pytest.raises(errors.AzureError):
        sdk.virtual_machines.begin_create_or_update(server.account.site.group, NAME, body, polling=False, api_version=API)
    assert len(server.account.machines()) == made


def test_the_login_service_is_found_by_its_discovery_document(server: AzureServer) -> None:
    """Without any SDK: the document names the place of the tokens, and everything is TLS by our own certificate."""
    context = ssl.create_default_context(cafile=str(server.ca_file))
    url = f"{server.url}/{server.account.site.tenant}/v2.0/.well-known/openid-configuration"
    with urllib.request.urlopen(url, context=context, timeout=20) as answer:
        document = json.load(answer)
    assert document["token_endpoint"] == f"{server.url}/{server.account.site.tenant}/oauth2/v2.0/token"


# --------------------------------------------------------------------------------------------------- machines behind it


def test_a_machine_answers_on_ssh_until_it_is_deleted() -> None:
    """Its address is the one that its network card shows; the key is the one of the request."""
    machines = SSHMachines(boot_s=(0.0, 0.0), knobs=StubKnobs.kind())
    account = Account(now=time.monotonic, knobs=Knobs.kind(), hardware=machines)
    client = Client(account)
    try:
        client.create(NAME)
        card = client.get("card", f"{NAME}-nic").body
        address = card["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]
        instance = machines.instances[address]
        wait_until(lambda: instance.accepts_connections(time.monotonic()), "it is booted")
        client.delete("vm", NAME)
        account.settle()
        assert machines.instances == {}
    finally:
        machines.close()


def test_the_request_says_who_may_log_in() -> None:
    """Keys of the account and of root, and an injected host key, are found in what was sent."""
    host_key, key = new_private_key(), load_private_key(new_private_key())
    line = f"{key.get_name()} {key.get_base64()}"
    script = f"#!/bin/sh\necho '{line} dispatcher' >> /root/.ssh/authorized_keys\ncat > /etc/ssh/key <<EOF\n{host_key}EOF\n"
    body = machine_body(NAME)["properties"]["osProfile"]
    accounts = accounts_of(body, script)
    assert [authorized_words(each) for each in accounts["root"]] == [authorized_words(line)]
    assert accounts["crunch"] == [KEY]
    for text in (script, json.dumps({"ssh_keys": {"ed25519_private": host_key}})):
        found = host_key_in(text)
        assert found is not None
        assert load_private_key(found).get_base64() == load_private_key(host_key).get_base64()
    assert custom_data_of(body).startswith("#!/bin/sh")


# ------------------------------------------------------------------------------------------------------------------ alone


def test_it_runs_alone(tmp_path: Path) -> None:
    """One command prints what a driver has to be told; an interrupt ends it with a summary."""
    command = [sys.executable, "-m", "tests.fake_azure", "--folder", str(tmp_path), "--kind", "--knob", "page_size=3"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while "}\n" not in lines:
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended early"
        said = json.loads("".join(lines))
        assert {"endpoint", "ca_file", "subscription", "tenant", "client_id", "client_secret", "ssh_port"} <= set(said)
        process.send_signal(signal.SIGINT)
        summary, _ = process.communicate(timeout=60)
    assert json.loads(summary)["left"] == []
    assert process.returncode == 0
