"""What ``cloudtest`` asks for: the configuration with what the command line changes, as one request to the cloud.

Everything here is values; a wish that cannot be is a ValueError that names the option.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from dispatcher.cli.cloudtest_cloud import Pace
from dispatcher.config import Config, DriverChoice
from dispatcher.core.settings import Settings
from dispatcher.driver import CreateRequest, InstanceType
from dispatcher.edge.ssh.keys import load_private_key, public_key_line
from dispatcher.frozen import dataclass
from dispatcher.runtime.perform import init_script

SET_ID = "zzzzz-zzzzz-zzzzzzcloudtest"
LIST_S = 5.0  # while something is awaited, unless SyncInterval is shorter


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    instance_set_id: str = SET_ID
    image_id: str | None = None
    instance_type: str | None = None
    destroy_existing: bool = False
    command: str = ""
    command_timeout: float = 600.0
    pause_before_destroy: bool = False


def variants(config: Config) -> Iterator[tuple[str, Config]]:
    """One test for each subnet when the driver's parameters name several."""
    subnets = config.driver.parameters.get("SubnetID")
    if not isinstance(subnets, list) or len(subnets) < 2:
        yield "", config
        return
    for subnet in subnets:
        parameters = {**config.driver.parameters, "SubnetID": subnet}
        yield f"SubnetID {subnet}: ", replace(config, driver=DriverChoice(name=config.driver.name, parameters=parameters))


def prepared(config: Config, options: Options) -> Config:
    """The configuration of the test: a set of its own, one image, one instance type."""
    settings, set_id = config.settings, options.instance_set_id
    if not set_id:
        raise ValueError("--instance-set-id must not be empty")
    if set_id == settings.instance_set_id:
        raise ValueError(f"--instance-set-id {set_id} is the set of the dispatcher itself, whose instances run containers")
    chosen = choose_type(settings.instance_types, options.instance_type)
    image_id = options.image_id or settings.image_id
    changed = replace(settings, instance_set_id=set_id, image_id=image_id, instance_types={chosen.name: chosen})
    return replace(config, settings=changed)


def choose_type(known: Mapping[str, InstanceType], name: str | None) -> InstanceType:
    """The one that is named, or the cheapest."""
    if not known:
        raise ValueError("InstanceTypes: the configuration has none")
    if name is None:
        return min(known.values(), key=lambda one: (one.price, one.name))
    if name not in known:
        raise ValueError(f"--instance-type {name} is not configured; there are {', '.join(sorted(known))}")
    return known[name]


def pace_of(settings: Settings, lag_s: float) -> Pace:
    return Pace(
        list_s=min(LIST_S, settings.sync_interval_s),
        probe_s=settings.probe_interval_s,
        destroy_s=settings.sync_interval_s,
        lag_s=lag_s,
        call_s=settings.timeout_cloud_call_s,
        boot_s=settings.timeout_booting_s,
    )


def request_of(config: Config, name: str, secret: str, *, process: int, created_at: str) -> CreateRequest:
    """As the dispatcher itself asks for one; the tags are the site's, then those of the test, which win. Raises ValueError when
    the private key is wrong."""
    settings, prefix = config.settings, config.settings.tag_prefix
    (chosen,) = settings.instance_types.values()
    ours = {"CloudTestPID": str(process), "InstanceSetID": settings.instance_set_id, "InstanceSecret": secret}
    return CreateRequest(
        name=name,
        instance_type=chosen,
        image_id=settings.image_id,
        tags={**settings.resource_tags, **{f"{prefix}{tag}": value for tag, value in ours.items()}},
        init_script=init_script(secret, settings.instance_init_command),
        public_key=public_key_line(load_private_key(config.access.private_key)) if settings.deploy_public_key else None,
        created_at=created_at,
    )
