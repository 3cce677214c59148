"""The runner's command lines and what it prints, as tables."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest

from dispatcher.driver import GPU, InstanceType
from dispatcher.edge.deployment import is_in_place, verify_command
from dispatcher.edge.runner import Listed, Runner, boot_command, parse_list, quoted
from dispatcher.edge.runner_config import RunnerAccess, gateway_secret, start_config

UUID = "zzzzz-dz642-000000000000001"
OTHER = "zzzzz-dz642-000000000000002"
FOREIGN = "yyyyy-dz642-000000000000001"
RUNNER = Runner(command="/tmp/x/crunch-run~00", runtime_engine="docker", arguments=("--cgroup-parent-subsystem=memory",))

COMMAND_LINES = [
    (RUNNER.list_command("root"), "/tmp/x/crunch-run~00 --list"),
    (RUNNER.list_command("crunch"), "sudo /tmp/x/crunch-run~00 --list"),
    (
        RUNNER.start_command("root", UUID),
        "/tmp/x/crunch-run~00 --detach --stdin-config '--runtime-engine=docker' '--cgroup-parent-subsystem=memory'"
        " 'zzzzz-dz642-000000000000001'",
    ),
    (
        replace(RUNNER, command="crunch-run", arguments=("a b", "it's")).start_command("crunch", UUID),
        "sudo crunch-run --detach --stdin-config '--runtime-engine=docker' 'a b' 'it'\\''s' 'zzzzz-dz642-000000000000001'",
    ),
    (
        replace(RUNNER, broken_node_hook="/opt/hook it's broken").start_command("root", UUID),
        "/tmp/x/crunch-run~00 --detach --stdin-config '--runtime-engine=docker' '--broken-node-hook=/opt/hook it'\\''s broken'"
        " '--cgroup-parent-subsystem=memory' 'zzzzz-dz642-000000000000001'",
    ),
    (RUNNER.kill_command("root", UUID, 15), "/tmp/x/crunch-run~00 --kill 15 zzzzz-dz642-000000000000001"),
    (RUNNER.kill_command("crunch", UUID, 9), "sudo /tmp/x/crunch-run~00 --kill 9 zzzzz-dz642-000000000000001"),
    (RUNNER.kill_command("root", "x; reboot", 9), "/tmp/x/crunch-run~00 --kill 9 'x; reboot'"),
    (boot_command("systemctl is-system-running"), "systemctl is-system-running"),
    (boot_command(" "), "true"),
    (verify_command("/tmp/x/crunch-run~00"), "md5sum '/tmp/x/crunch-run~00'"),
]


@pytest.mark.parametrize(("made", "expected"), COMMAND_LINES)
def test_command_lines(made: str, expected: str) -> None:
    """Exactly as the runner of the reference implementation is called."""
    assert made == expected


@pytest.mark.parametrize("word", ["", "plain", "two words", "it's", "$HOME `id` \\ \"", "a\nb", "'''"])
def test_quoted_words_reach_a_program_unchanged(word: str) -> None:
    """Whatever a site writes into the runner's arguments."""
    assert shlex.split(quoted(word)) == [word]


LISTS = [
    (b"", Listed()),
    (f"{UUID}\n{OTHER}\n".encode(), Listed(processes=frozenset({UUID, OTHER}))),
    (f"{UUID}\r\n\n  \n".encode(), Listed(processes=frozenset({UUID}))),
    (f"{UUID} stale\n".encode(), Listed(stale=frozenset({UUID}))),
    (f"{UUID}\n{UUID} stale\n".encode(), Listed(processes=frozenset({UUID}))),
    (f"{FOREIGN}\n{FOREIGN} stale\n{UUID}\n".encode(), Listed(processes=frozenset({UUID}))),
    (f"{UUID}\nbroken\n".encode(), Listed(processes=frozenset({UUID}), broken=True)),
    (b"Welcome to Debian\n", Listed(notes=("Welcome to Debian",))),
    (f"{UUID} paused\n".encode(), Listed(processes=frozenset({UUID}), notes=(f"{UUID} paused",))),
    (b"zzzzz-dz642-short\n", Listed(processes=frozenset({"zzzzz-dz642-short"}))),
    (b"\xff\xfe\n" * 9, Listed(notes=("\ufffd\ufffd",) * 3)),
]


@pytest.mark.parametrize(("stdout", "expected"), LISTS)
def test_lists(stdout: bytes, expected: Listed) -> None:
    """Ours, other clusters', stale ones, a broken host, and noise that is kept apart and bounded."""
    assert parse_list(stdout, "zzzzz") == expected


CHECKSUMS = [
    (b"abc  /x/crunch-run~abc\n", b"", True),
    (b"abd  /x/crunch-run~abc\n", b"", False),
    (b"abc  /x/crunch-run~abc\n", b"md5sum: warning\n", False),
    (b"abc /x/crunch-run~abc\n", b"", False),
    (b"", b"md5sum: /x/crunch-run~abc: No such file or directory\n", False),
    (b"Welcome\nabc  /x/crunch-run~abc\n", b"", False),
]


@pytest.mark.parametrize(("stdout", "stderr", "in_place"), CHECKSUMS)
def test_checksums(stdout: bytes, stderr: bytes, in_place: bool) -> None:
    """Anything but md5sum's exact answer means that the runner is put there again."""
    assert is_in_place("/x/crunch-run~abc", "abc", stdout, stderr) is in_place


# ------------------------------------------------------------------------------------------------------------- configuration

TYPE = InstanceType(
    name="large",
    provider_type="Standard_D8",
    vcpus=8,
    ram_bytes=32 << 30,
    added_scratch_bytes=100,
    price=0.5,
    preemptible=True,
    gpu=GPU(stack="cuda", driver_version="12.0", hardware_target="9.0", device_count=1, vram_bytes=1 << 30),
)
ACCESS = RunnerAccess(
    api_host="api.example.com",
    api_token="v2/token",
    system_root_token="root",
    keep_buffers_per_vcpu=2,
    cluster_config={"ClusterID": "zzzzz"},
    spot_check=True,
)


def config(access: RunnerAccess = ACCESS, **options: object) -> dict[str, object]:
    made = start_config(access, uuid=UUID, instance_type=TYPE, gateway_host="[fd00::1]", **options)  # type: ignore[arg-type]
    parsed: dict[str, object] = json.loads(made)
    return parsed


def test_the_configuration_has_exactly_the_keys_that_the_runner_knows() -> None:
    """Spelled as there; the instance type without its name. (The gateway secret was computed with openssl.)"""
    made = config(vcpus=3)
    environment = made.pop("Env")
    assert isinstance(environment, dict)
    type_record = json.loads(environment.pop("InstanceType"))
    assert made == {"KeepBuffers": 6, "EC2SpotCheck": True, "Cluster": {"ClusterID": "zzzzz"}}
    assert environment == {
        "ARVADOS_API_HOST": "api.example.com",
        "ARVADOS_API_TOKEN": "v2/token",
        "GatewayAddress": "[fd00::1]:0",
        "GatewayAuthSecret": "0f53b5595ddf0b23753f6eae0501e3bba9cfb8fc6d9c9ea1bf149fc8b7852676",
    }
    assert type_record == {
        "ProviderType": "Standard_D8",
        "VCPUs": 8,
        "RAM": 32 << 30,
        "IncludedScratch": 0,
        "AddedScratch": 100,
        "Price": 0.5,
        "Preemptible": True,
        "GPU": {"Stack": "cuda", "DriverVersion": "12.0", "HardwareTarget": "9.0", "DeviceCount": 1, "VRAM": 1 << 30},
    }


@pytest.mark.parametrize(
    ("access", "vcpus", "buffers", "with_cluster"),
    [
        (ACCESS, 1, 2, True),
        (ACCESS, None, 16, True),
        (replace(ACCESS, keep_buffers_per_vcpu=0), 1, 0, False),
        (replace(ACCESS, cluster_config=None), 1, 0, False),
    ],
    ids=["by the container", "container unknown: by the instance", "switched off", "no cluster configuration"],
)
def test_block_buffers(access: RunnerAccess, vcpus: int | None, buffers: int, with_cluster: bool) -> None:
    """12.16c: counted by the container's vcpus; the cluster's secrets leave this host only when buffers need them."""
    made = config(access, vcpus=vcpus)
    assert (made["KeepBuffers"], made["Cluster"] is not None) == (buffers, with_cluster)


def test_no_gateway_without_a_key_for_its_secret() -> None:
    """A secret made with an empty key could be computed by anybody."""
    environment = config(replace(ACCESS, system_root_token=""))["Env"]
    assert isinstance(environment, dict)
    assert {"GatewayAddress", "GatewayAuthSecret"}.isdisjoint(environment)


def test_an_unverified_api_is_passed_on() -> None:
    """Only then is the variable there at all."""
    environment = config(replace(ACCESS, api_insecure=True))["Env"]
    assert isinstance(environment, dict)
    assert environment["ARVADOS_API_HOST_INSECURE"] == "1"


def test_the_gateway_secret_is_what_the_api_server_computes() -> None:
    """HMAC-SHA256 of the uuid with the root token, in hex (a published test vector)."""
    assert gateway_secret("key", "The quick brown fox jumps over the lazy dog") == (
        "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    )


def test_no_token_in_a_repr() -> None:
    """Values that are logged by accident show nothing."""
    assert not {"v2/token", "root", "ClusterID"} & set(repr(ACCESS).replace("'", " ").split())
