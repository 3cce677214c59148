"""The configuration that a runner reads from standard input: its keys and their spelling are the runner's, not ours.

It holds tokens, so it travels on standard input only and is never shown.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from dispatcher.driver import InstanceType
from dispatcher.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerAccess:
    """What every start has in common. ``cluster_config`` is the cluster's whole configuration, which a runner needs for block
    buffers of its own; without it (None) there are none. ``spot_check``: preemptible instances are asked for notices."""

    api_host: str
    api_token: str = field(repr=False)
    api_insecure: bool = False
    system_root_token: str = field(repr=False, default="")
    keep_buffers_per_vcpu: int = 1
    cluster_config: Mapping[str, Any] | None = field(repr=False, default=None)
    spot_check: bool = False


def start_config(
    access: RunnerAccess, *, uuid: str, instance_type: InstanceType, gateway_host: str, vcpus: int | None = None
) -> bytes:
    """``gateway_host``: where we reach the instance, IPv6 in brackets, no port. ``vcpus``: what the container asked for.

    Block buffers are counted by the container's vcpus (the reference counts the instance's for every container): the RAM for
    them was set aside per container, and an instance may run several.
    """
    buffers = access.keep_buffers_per_vcpu * (instance_type.vcpus if vcpus is None else vcpus)
    buffers = buffers if access.cluster_config is not None else 0
    config = {
        "Env": _environment(access, uuid, instance_type, gateway_host),
        "KeepBuffers": buffers,
        "EC2SpotCheck": access.spot_check and instance_type.preemptible,
        "Cluster": access.cluster_config if buffers > 0 else None,
    }
    return json.dumps(config).encode()


def _environment(access: RunnerAccess, uuid: str, instance_type: InstanceType, gateway_host: str) -> dict[str, str]:
    environment = {
        "ARVADOS_API_HOST": access.api_host,
        "ARVADOS_API_TOKEN": access.api_token,
        "InstanceType": json.dumps(instance_type_record(instance_type), indent=4),
    }
    if access.api_insecure:
        environment["ARVADOS_API_HOST_INSECURE"] = "1"
    if access.system_root_token:  # with an empty key everybody could compute the secret: then there is no gateway
        environment["GatewayAddress"] = f"{gateway_host}:0"
        environment["GatewayAuthSecret"] = gateway_secret(access.system_root_token, uuid)
    return environment


def gateway_secret(system_root_token: str, uuid: str) -> str:
    """The API server computes the same, and so may connect to the container."""
    return hmac.new(system_root_token.encode(), uuid.encode(), hashlib.sha256).hexdigest()


def instance_type_record(instance_type: InstanceType) -> dict[str, Any]:
    """As in the cluster's configuration, without its name."""
    gpu = instance_type.gpu
    return {
        "ProviderType": instance_type.provider_type,
        "VCPUs": instance_type.vcpus,
        "RAM": instance_type.ram_bytes,
        "IncludedScratch": instance_type.included_scratch_bytes,
        "AddedScratch": instance_type.added_scratch_bytes,
        "Price": instance_type.price,
        "Preemptible": instance_type.preemptible,
        "GPU": {
            "Stack": gpu.stack,
            "DriverVersion": gpu.driver_version,
            "HardwareTarget": gpu.hardware_target,
            "DeviceCount": gpu.device_count,
            "VRAM": gpu.vram_bytes,
        },
    }
