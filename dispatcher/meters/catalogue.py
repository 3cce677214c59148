"""Every series that is served: one row each. ``docs/metrics.md`` is made from here, and a test holds ``/metrics`` against it.

First those that every Arvados dispatcher has, then those of its service frame, then our own.
"""

from __future__ import annotations

from typing import Any

from dispatcher.meters.series import Kind, Labels, Series

DISPATCH = "arvados_dispatchcloud_"
FRAME = "arvados_"

QUANTILES = (0.5, 0.9, 0.95, 0.99)
SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)
SHORT = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

CATEGORIES = ("booting", "hold", "idle", "inuse", "unknown")
STATES = ("Cancelled", "Complete", "Locked", "Queued", "Running")
WORKER_STATES = ("booting", "idle", "running", "shutdown", "unknown")
OPERATIONS = ("Create", "Destroy", "List", "SetTags")
OUTCOMES = ("aborted", "disappeared", "failure", "success")
PRIORITIES = ("high", "low", "normal")
PASSING = ("creating", "booting", "unknown", "shutdown")  # states of an instance that ought to pass
TROUBLES = ("audit log", "configuration", "hints", "state folder")

_made: list[Series] = []


def _add(name: str, kind: Kind, meaning: str, *labels: str, prefix: str = DISPATCH, **more: Any) -> Series:
    series = Series(name=prefix + name, kind=kind, meaning=meaning, labels=labels, **more)
    _made.append(series)
    return series


def _each(values: tuple[str, ...]) -> tuple[Labels, ...]:
    return tuple((value,) for value in values)


# ---------------------------------------------------------------------------------------- what every Arvados dispatcher has


def _gauge(name: str, meaning: str, *labels: str) -> Series:
    return _add(name, Kind.GAUGE, meaning, *labels, upstream=True)


def _counter(name: str, meaning: str, *labels: str, presets: tuple[Labels, ...]) -> Series:
    return _add(name, Kind.COUNTER, meaning, *labels, upstream=True, presets=presets)


def _summary(name: str, meaning: str, *labels: str, presets: tuple[Labels, ...] = ()) -> Series:
    return _add(name, Kind.SUMMARY, meaning, *labels, upstream=True, presets=presets, quantiles=QUANTILES)


QUEUE_ENTRIES = _gauge(
    "queue_entries", "Containers that are known, by state and by the instance type that is first choice for them.",
    "state", "instance_type",
)  # fmt: skip
CONTAINERS_RUNNING = _gauge("containers_running", "Runner processes on instances, those that are being started included.")
ALLOCATED = _gauge("containers_allocated_not_started", "Containers whose place is on an instance that is not ready yet.")
OVER_QUOTA = _gauge(
    "containers_not_allocated_over_quota",
    "Containers that have no place because a quota or limit on instances or supervisors is reached.",
)
LONGEST_WAIT = _gauge(
    "containers_longest_wait_time_seconds",
    "Longest time since its creation of any wanted container that has not been started.",
)
QUEUE_TO_START = _summary(
    "containers_time_from_queue_to_crunch_run_seconds", "From a container's creation until its runner was started."
)
MAX_CONTAINERS = _gauge("max_concurrent_containers", "How many containers may run at once as things stand; 0: no limit.")
LAST_503 = _gauge("last_503_time", "Unix time of the last 503 answer of the API; 0: never.")
AT_QUOTA = _gauge("at_quota", "1 while the cloud refuses more instances because of a quota.")
INSTANCES = _gauge("instances_total", "Instances, those that are still being asked for included.", "category", "instance_type")
PRICE = _gauge("instances_price", "Price per hour of all instances.", "category")
VCPUS = _gauge("vcpus_total", "VCPUs of all instances.", "category")
MEMORY = _gauge("memory_bytes_total", "Memory of all instances.", "category")
DISAPPEARED = _counter(
    "instances_disappeared", "Instances that are gone from the cloud, by what they were doing last.", "state",
    presets=_each(WORKER_STATES),
)  # fmt: skip
BOOT_OUTCOMES = _counter(
    "boot_outcomes", "How the boot of each instance ended: one for each that the cloud accepted.", "outcome",
    presets=_each(OUTCOMES),
)  # fmt: skip
DRIVER_OPERATIONS = _counter(
    "driver_operations", "Calls of the cloud driver, and whether they failed.", "operation", "error",
    presets=tuple((operation, error) for operation in OPERATIONS for error in "01"),
)  # fmt: skip
TIME_TO_SSH = _summary("instances_time_to_ssh_seconds", "From the creation of an instance until SSH first answered.")
TIME_TO_READY = _summary(
    "instances_time_to_ready_for_container_seconds", "From the first answer over SSH until the instance took containers."
)
TIME_TO_GONE = _summary(
    "instances_time_from_shutdown_request_to_disappearance_seconds", "From the first destroy until the instance was gone."
)
PROBE_DURATION = _summary(
    "instances_run_probe_duration_seconds", "Duration of one look at the processes of a booted instance.", "outcome",
    presets=_each(("fail", "success")),
)  # fmt: skip
PROBE_AGE_MAX = _gauge("probe_age_seconds_max", "The oldest of the instances' last good answers, in seconds.")
PROBE_AGE_MEDIAN = _gauge("probe_age_seconds_median", "The median age of the instances' last good answers, in seconds.")


# ------------------------------------------------------------------------------------------------------- the service frame


def _framed(name: str, kind: Kind, meaning: str, *labels: str, prefix: str = FRAME, **more: Any) -> Series:
    return _add(name, kind, meaning, *labels, prefix=prefix, upstream=True, **more)


VERSION = _framed("version_running", Kind.GAUGE, "1 for the version that runs.", "version")
CONFIG_LOADED = _framed("config_load_timestamp_seconds", Kind.GAUGE, "When the configuration was read.", "sha256")
CONFIG_WRITTEN = _framed("config_source_timestamp_seconds", Kind.GAUGE, "When the file that was read had been written.", "sha256")
CONCURRENT = _framed("concurrent_requests", Kind.GAUGE, "Requests that are being answered.", "queue")
MAX_CONCURRENT = _framed("max_concurrent_requests", Kind.GAUGE, "Requests that are answered at once, at most.", "queue")
QUEUED = _framed("queued_requests", Kind.GAUGE, "Requests that wait for a thread.", "queue", "priority")
MAX_QUEUED = _framed("max_queued_requests", Kind.GAUGE, "Requests that may wait for a thread, at most.", "queue")
QUEUE_DELAY = _framed(
    "queue_delay_seconds", Kind.SUMMARY, "Time that requests waited for a thread.", "queue", "priority",
    quantiles=QUANTILES, presets=(("api", "normal"),),
)  # fmt: skip
QUEUE_TIMEOUT = _framed(
    "queue_timeout_seconds", Kind.SUMMARY, "Time that requests waited for a thread in vain: none is turned away for that.",
    "queue", "priority", quantiles=QUANTILES, presets=(("api", "normal"),),
)  # fmt: skip
OLDEST_REQUEST = _framed("max_active_request_age_seconds", Kind.GAUGE, "Age of the oldest request that is being answered.")
OLDEST_ABANDONED = _framed(
    "max_abandoned_request_age_seconds", Kind.GAUGE,
    "Longest time since a client was seen to have hung up on a request that is still being answered.",
)  # fmt: skip
REQUEST_DURATION = _framed(
    "request_duration_seconds", Kind.SUMMARY, "Duration of requests.", "code", "method", prefix=""
)
TIME_TO_STATUS = _framed(
    "time_to_status_seconds", Kind.SUMMARY, "From a request until the status of its answer.", "code", "method", prefix=""
)


# --------------------------------------------------------------------------------------------------------------------- own


def _own(name: str, kind: Kind, meaning: str, *labels: str, **more: Any) -> Series:
    if kind is Kind.HISTOGRAM:
        more.setdefault("bounds", SECONDS)
    return _add(name, kind, meaning, *labels, **more)


# instances
PHASES = _own("instances_state", Kind.GAUGE, "Instances by what they are doing.", "state")
HELD = _own("instances_held", Kind.GAUGE, "Instances that an operator holds, busy ones included.")
HELD_PRICE = _own("instances_held_price", Kind.GAUGE, "Price per hour of all held instances, busy ones included.")
HELD_LONGEST = _own("instances_held_longest_seconds", Kind.GAUGE, "How long the longest hold has lasted.")
LONGEST_IN_STATE = _own(
    "instances_longest_in_state_seconds", Kind.GAUGE, "How long an instance has been at most in a state that ought to pass.",
    "state",
)  # fmt: skip
GUARDED = _own(
    "instances_guarded", Kind.GAUGE, "Instances that look bad and that the destroy guard keeps: it is rather us or the network."
)
UNKILLABLE = _own("runners_unkillable", Kind.GAUGE, "Runners that are still there long after their KILL.")
COST = _own(
    "instances_cost_total", Kind.COUNTER,
    "What instances have cost since this process started, in the unit of Price, from the accepted create until they were gone.",
    "category", "instance_type",
)  # fmt: skip
UNEXPECTED = _own(
    "instances_unexpected_shutdowns_total", Kind.COUNTER, "Instances that went away although nobody here destroyed them.",
    "instance_type", "state",
)  # fmt: skip
DESTROYED = _own(
    "instances_destroyed_total", Kind.COUNTER, "Instances that this dispatcher decided to destroy, by cause.",
    "instance_type", "cause",
)  # fmt: skip
TYPED_OUTCOMES = _own(
    "boot_outcomes_by_type_total", Kind.COUNTER, "How the boot of each instance ended, by instance type.",
    "instance_type", "outcome",
)  # fmt: skip
CREATE_FAILING = _own(
    "create_failing_seconds_total", Kind.COUNTER,
    "Time spent on creates that came to nothing, from each decision until the failure was known.", "instance_type",
)  # fmt: skip
SSH_HISTOGRAM = _own(
    "instances_time_to_ssh_histogram_seconds", Kind.HISTOGRAM, "From the creation of an instance until SSH first answered."
)
READY_HISTOGRAM = _own(
    "instances_time_to_ready_for_container_histogram_seconds", Kind.HISTOGRAM,
    "From the first answer over SSH until the instance took containers.",
)  # fmt: skip
GONE_HISTOGRAM = _own(
    "instances_time_from_shutdown_request_to_disappearance_histogram_seconds", Kind.HISTOGRAM,
    "From the first destroy until the instance was gone.",
)  # fmt: skip
PROBE_HISTOGRAM = _own(
    "instances_run_probe_duration_histogram_seconds", Kind.HISTOGRAM, "Duration of one look at the processes of an instance.",
    "outcome", presets=_each(("fail", "success")),
)  # fmt: skip
READY_TO_STARTED = _own(
    "instances_time_from_ready_to_started_seconds", Kind.HISTOGRAM,
    "From the moment that an instance was ready until the first runner was started on it.",
)

# containers
START_HISTOGRAM = _own(
    "containers_time_from_queue_to_crunch_run_histogram_seconds", Kind.HISTOGRAM,
    "From a container's creation until its runner was started.",
)  # fmt: skip
RUNNABLE_TO_STARTED = _own(
    "containers_time_from_runnable_to_started_seconds", Kind.HISTOGRAM,
    "From the moment that this dispatcher saw a container wanted (priority above 0) until its runner was started.",
)  # fmt: skip
SEEN_TO_LOCKED = _own(
    "containers_time_from_seen_to_locked_seconds", Kind.HISTOGRAM,
    "From the moment that a container was first seen until its first lock was ours.",
)  # fmt: skip
LONGEST_RUNNABLE = _own(
    "containers_longest_runnable_wait_seconds", Kind.GAUGE,
    "Longest time that any wanted container has been waiting since it was seen wanted.",
)  # fmt: skip
WAITING = _own(
    "containers_waiting", Kind.GAUGE, "Containers that have yet to begin, by what they wait for, as on the page.", "cause"
)  # fmt: skip
ATTEMPTS_FAILED = _own("container_attempts_failed_total", Kind.COUNTER, "Attempts that ended without moving the container on.")
CONTAINERS_LOST = _own("containers_lost_total", Kind.COUNTER, "Containers whose instance went away under them.")
STARTS = _own("container_starts_total", Kind.COUNTER, "Starts of runners, by what came of the command.", "outcome")

# the cloud
CLOUD_CALLS = _own(
    "cloud_calls_total", Kind.COUNTER,
    "Calls of the cloud driver by outcome: ok, or the class of the error, or unknown when nobody can say.",
    "operation", "outcome",
)  # fmt: skip
HOLDOFFS = _own("holdoffs", Kind.GAUGE, "Hold-offs in force, by kind of call and reason.", "call", "kind")
HOLDOFF_LEFT = _own("holdoff_remaining_seconds", Kind.GAUGE, "How long the longest hold-off of this call still lasts.", "call")
CALLS_LEFT = _own(
    "cloud_calls_left", Kind.GAUGE,
    "Calls of this kind that the cloud still allows, as its last answer said; NaN: it says nothing.", "call",
)  # fmt: skip
QUOTA_LIMIT = _own("cloud_quota_limit", Kind.GAUGE, "Limit that an answer to this call named; NaN: none did.", "call")
QUOTA_USAGE = _own("cloud_quota_usage", Kind.GAUGE, "How much of that limit is used, as the answer said; NaN: none did.", "call")
LIST_AGE = _own(
    "cloud_list_age_seconds", Kind.GAUGE,
    "Time since the last complete list of instances began, or since this dispatcher leads; 0 while it does not.",
)  # fmt: skip
LEFTOVERS = _own("leftovers", Kind.GAUGE, "Disks, network cards and addresses of ours that lists show and no instance uses.")
LEFTOVERS_LONGEST = _own("leftovers_longest_seconds", Kind.GAUGE, "How long the oldest of them has been seen.")
PRICE_LIMIT = _own(
    "price_limit", Kind.GAUGE, "MaxPricePerHour and MaxPricePerDay; 0: no limit.", "per", presets=_each(("day", "hour"))
)  # fmt: skip
SPENT_TODAY = _own("spent_today", Kind.GAUGE, "What instances have cost since 0:00 UTC, as MaxPricePerDay counts it.")

# the queue service
QUEUE_REQUESTS = _own(
    "queue_requests_total", Kind.COUNTER,
    "Requests to the queue service by status of the answer; none when there was no answer.", "operation", "status",
)  # fmt: skip
LOCK_FAILURES = _own(
    "lock_failures_total", Kind.COUNTER, "Locks that were not had, by status of the answer; none when there was no answer.",
    "status",
)  # fmt: skip
POLL_AGE = _own(
    "queue_poll_age_seconds", Kind.GAUGE,
    "Time since the last poll began that showed all containers of ours, or since this dispatcher leads; 0 while it does not.",
)  # fmt: skip
POLL_TOOK = _own("queue_poll_duration_seconds", Kind.GAUGE, "How long the last look at the top of the queue took.")
POLL_SIZE = _own("queue_poll_records", Kind.GAUGE, "How many records the last look at the queue brought.")
QUEUE_WAITING = _own(
    "queue_waiting", Kind.GAUGE,
    "Containers that wait at the queue service, those that were not read included, when last counted; NaN: not counted yet.",
)  # fmt: skip
REJECTED = _own("queue_records_rejected", Kind.GAUGE, "Containers whose record cannot be understood, so that nobody runs them.")
LOCK_WINDOW = _own("lock_window", Kind.GAUGE, "How many locks may be on their way at once; it shrinks on 503.")

# SSH
SSH_FAILURES = _own(
    "ssh_failures_total", Kind.COUNTER,
    "Probes that failed, by class; booted is 0 while the instance has never been ready, when failures are usual.",
    "class", "booted",
)  # fmt: skip

# the dispatcher itself
ACTS = _own("acts_total", Kind.COUNTER, "Acts by kind: ok, failed, or not sent: its reason was gone.", "act", "outcome")
ACT_DURATION = _own("act_duration_seconds", Kind.HISTOGRAM, "Duration of acts that were sent, by kind.", "act")
PASS_DURATION = _own("loop_pass_duration_seconds", Kind.HISTOGRAM, "Duration of one turn of a loop.", "loop", bounds=SHORT)
LOOP_AGE = _own("loop_beat_age_seconds", Kind.GAUGE, "Time since a loop's last sign of life.", "loop")
LEADING = _own("leading", Kind.GAUGE, "1 while this dispatcher may act.")
TERM = _own("leadership_term", Kind.GAUGE, "How often this process has gained the leadership.")
VERDICT = _own(
    "verdict", Kind.GAUGE, "1 for what limits this dispatcher now, as the page has it. Levels: ok to stopped.",
    "level", "cause",
)  # fmt: skip
BUGS = _own("bugs_total", Kind.COUNTER, "Bugs that were survived, by where; each stands in the log.", "where")
GIVEN_UP = _own("calls_given_up_total", Kind.COUNTER, "Calls that did not come back within their time.")
TROUBLE = _own(
    "trouble", Kind.GAUGE, "1 while the dispatcher works around this: what health warns of.", "what", presets=_each(TROUBLES)
)  # fmt: skip
AUDIT_FAILURES = _own("audit_failures_total", Kind.COUNTER, "Entries that could not be written into the file of AuditLog.")
WALL_CLOCK = _own(
    "wall_clock_timestamp_seconds", Kind.GAUGE, "Unix time by the clock of the dispatcher's host when it was scraped."
)
LANE_WAITING = _own("lane_waiting", Kind.GAUGE, "Acts that wait for a thread, by lane.", "lane")
LOCK_TIME = _own("store_longest_change_seconds", Kind.GAUGE, "The most thread time that one change took under the store's lock.")

SERIES: tuple[Series, ...] = tuple(_made)

WEB = (
    CONCURRENT, MAX_CONCURRENT, QUEUED, MAX_QUEUED, QUEUE_DELAY, QUEUE_TIMEOUT, OLDEST_REQUEST, OLDEST_ABANDONED,
    REQUEST_DURATION, TIME_TO_STATUS,
)  # fmt: skip
"""What the web layer measures. Everything else comes from the runtime."""
