"""The series of the Arvados dispatcher: name → (kind, names of labels). Facts, written down once; boards rest on them.

Those of one cloud's driver alone (``ec2_…``) are not among them.
"""

from __future__ import annotations

UPSTREAM: dict[str, tuple[str, tuple[str, ...]]] = {
    "arvados_concurrent_requests": ("gauge", ("queue",)),
    "arvados_config_load_timestamp_seconds": ("gauge", ("sha256",)),
    "arvados_config_source_timestamp_seconds": ("gauge", ("sha256",)),
    "arvados_dispatchcloud_at_quota": ("gauge", ()),
    "arvados_dispatchcloud_boot_outcomes": ("counter", ("outcome",)),
    "arvados_dispatchcloud_containers_allocated_not_started": ("gauge", ()),
    "arvados_dispatchcloud_containers_longest_wait_time_seconds": ("gauge", ()),
    "arvados_dispatchcloud_containers_not_allocated_over_quota": ("gauge", ()),
    "arvados_dispatchcloud_containers_running": ("gauge", ()),
    "arvados_dispatchcloud_containers_time_from_queue_to_crunch_run_seconds": ("summary", ()),
    "arvados_dispatchcloud_driver_operations": ("counter", ("error", "operation")),
    "arvados_dispatchcloud_instances_disappeared": ("counter", ("state",)),
    "arvados_dispatchcloud_instances_price": ("gauge", ("category",)),
    "arvados_dispatchcloud_instances_run_probe_duration_seconds": ("summary", ("outcome",)),
    "arvados_dispatchcloud_instances_time_from_shutdown_request_to_disappearance_seconds": ("summary", ()),
    "arvados_dispatchcloud_instances_time_to_ready_for_container_seconds": ("summary", ()),
    "arvados_dispatchcloud_instances_time_to_ssh_seconds": ("summary", ()),
    "arvados_dispatchcloud_instances_total": ("gauge", ("category", "instance_type")),
    "arvados_dispatchcloud_last_503_time": ("gauge", ()),
    "arvados_dispatchcloud_max_concurrent_containers": ("gauge", ()),
    "arvados_dispatchcloud_memory_bytes_total": ("gauge", ("category",)),
    "arvados_dispatchcloud_probe_age_seconds_max": ("gauge", ()),
    "arvados_dispatchcloud_probe_age_seconds_median": ("gauge", ()),
    "arvados_dispatchcloud_queue_entries": ("gauge", ("instance_type", "state")),
    "arvados_dispatchcloud_vcpus_total": ("gauge", ("category",)),
    "arvados_max_abandoned_request_age_seconds": ("gauge", ()),
    "arvados_max_active_request_age_seconds": ("gauge", ()),
    "arvados_max_concurrent_requests": ("gauge", ("queue",)),
    "arvados_max_queued_requests": ("gauge", ("queue",)),
    "arvados_queue_delay_seconds": ("summary", ("priority", "queue")),
    "arvados_queue_timeout_seconds": ("summary", ("priority", "queue")),
    "arvados_queued_requests": ("gauge", ("priority", "queue")),
    "arvados_version_running": ("gauge", ("version",)),
    "request_duration_seconds": ("summary", ("code", "method")),
    "time_to_status_seconds": ("summary", ("code", "method")),
}

QUANTILES = ("0.5", "0.9", "0.95", "0.99")
WITHOUT_QUANTILES = ("request_duration_seconds", "time_to_status_seconds")

PRESET: dict[str, tuple[dict[str, str], ...]] = {
    "arvados_dispatchcloud_boot_outcomes": tuple(
        {"outcome": each} for each in ("aborted", "disappeared", "failure", "success")
    ),
    "arvados_dispatchcloud_driver_operations": tuple(
        {"error": error, "operation": each} for each in ("Create", "Destroy", "List", "SetTags") for error in "01"
    ),
    "arvados_dispatchcloud_instances_disappeared": tuple(
        {"state": each} for each in ("booting", "idle", "running", "shutdown", "unknown")
    ),
    "arvados_dispatchcloud_instances_price": tuple(
        {"category": each} for each in ("booting", "hold", "idle", "inuse", "unknown")
    ),
}
"""Labels that are served from the start, with 0."""
