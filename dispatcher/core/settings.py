"""The frozen Settings that planners take: every key that changes a decision, with its unit in its name.

``dispatcher.config`` makes them from files; the core never sees a file. ``None`` in a pace key means that the site named no
value and the dispatcher chooses its own pace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from dispatcher.driver import InstanceType, RateLimits
from dispatcher.frozen import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What planners need to decide. Defaults are upstream's where upstream has the key."""

    cluster_id: str = "zzzzz"
    instance_types: Mapping[str, InstanceType] = field(default_factory=dict)
    tag_prefix: str = "Arvados"
    instance_set_id: str = ""
    resource_tags: Mapping[str, str] = field(default_factory=dict)
    image_id: str = ""
    allowed_images: tuple[str, ...] = ()  # patterns of what containers may ask for; none: what they ask for is ignored
    instance_init_command: str = field(default="", repr=False)  # sites put passwords into it
    deploy_public_key: bool = True

    # Sizing
    reserve_extra_ram_bytes: int = 550 * MIB
    local_keep_blob_buffers_per_vcpu: int = 1
    maximum_price_factor: float = 1.5

    # How many
    max_instances: int = 64  # 0 = no limit
    max_running_containers_per_instance: int = 0  # 0 = no limit
    initial_quota_estimate: int = 0  # 0 = none
    supervisor_fraction: float = 0.5  # 0 = no limit on supervisors
    max_concurrent_creates: int | None = None  # None or 0 = bounded by the lanes alone
    replace_ahead_s: float = 120.0  # before an announced end, room for what runs there is asked for; 0 = never
    max_dispatch_attempts: int = 10  # a container that was locked so often and cannot begin is cancelled

    # Money, in the unit of an instance type's price; 0 = no limit
    max_price_per_hour: float = 0.0
    max_price_per_day: float = 0.0
    spending_soft_share: float = 0.8
    prices_from_cloud: bool = False
    prices_in_file: Mapping[str, float] = field(default_factory=dict)  # where the cloud's price stands in instance_types

    # Pace: None = chosen by us
    poll_interval_s: float | None = None
    probe_interval_s: float = 10.0
    sync_interval_s: float = 60.0
    max_probes_per_second: float | None = None
    max_cloud_ops_per_second: float | None = None
    cloud_ops_burst: int | None = None
    max_creates_per_second: float | None = None
    max_lists_per_second: float | None = None
    max_destroys_per_second: float | None = None
    max_tag_updates_per_second: float | None = None
    cloud_limits: RateLimits = field(default_factory=RateLimits)

    # What the driver declared
    create_is_idempotent: bool = False
    list_lag_s: float = 0.0
    polls_creates: bool = False
    deletes_leftovers: bool = False
    leftover_age_s: float = 0.0
    tells_usages: bool = False
    prices_period_s: float = 0.0  # 0 = it tells none
    types_period_s: float = 0.0  # likewise
    quota_groups: Mapping[str, str] = field(default_factory=dict)  # instance type → quota group

    # Patience
    timeout_booting_s: float = 600.0
    timeout_idle_s: float = 60.0
    timeout_probe_s: float = 600.0
    timeout_shutdown_s: float = 10.0
    timeout_signal_s: float = 5.0
    timeout_stale_run_lock_s: float = 5.0
    timeout_term_s: float = 120.0
    timeout_kill_s: float = 20.0  # ours: from the KILL until the runner counts as unkillable
    max_wait_s: float = 0.0  # ours: a container that never had a place is cancelled after this; 0 = never
    stale_lock_timeout_s: float = 60.0

    # Deadlines of single acts: ours
    timeout_api_request_s: float = 60.0
    timeout_cloud_call_s: float = 120.0
    timeout_ssh_connect_s: float = 30.0
    timeout_ssh_command_s: float = 30.0
    timeout_ssh_start_s: float = 60.0

    # The log
    status_interval_s: float = 0.0  # ours; 0 = no status line

    # Commands
    boot_probe_command: str = "systemctl is-system-running"
