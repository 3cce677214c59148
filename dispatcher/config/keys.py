"""The one table of keys. What is read, checked, shown and documented follows from its rows; nothing else knows a key's name.

A default is written as it would stand in the file. ``upstream`` is the default of Arvados's own dispatcher, None where it has
no such key.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dispatcher.config import values
from dispatcher.config.values import COUNT, DURATION, FLAG, NUMBER, PATH, PATIENCE, RATE, SIZE, STRUCTURE, TAGS, TEXT, TEXTS, Kind
from dispatcher.config.yaml_lines import parse
from dispatcher.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """``path`` is dotted below ``Clusters.ID`` or, for our own, in our own file. ``target`` is ``group.field`` of the Config;
    without one the key is known and has no effect. ``default`` None: chosen by us."""

    path: str
    kind: Kind
    target: str = ""
    default: str | None
    upstream: str | None
    meaning: str
    reload: bool = False
    secret: bool = False
    own: bool = False

    @property
    def value_by_default(self) -> Any:
        if self.default is None or self.kind is STRUCTURE:
            return None
        root = parse(self.default, "").root
        assert root is not None
        return self.kind.parse(root)


def _own(name: str, kind: Kind, target: str, default: str | None, meaning: str, *, reload: bool = False) -> Key:
    return Key(
        path=name, kind=kind, target=target, default=default, upstream=None, meaning=meaning, reload=reload, own=True
    )


def _plans(path: str, kind: Kind, field: str, upstream: str, meaning: str) -> Key:
    """A key that planners take: it can change while the dispatcher runs."""
    target = f"settings.{field}"
    return Key(path=path, kind=kind, target=target, default=upstream, upstream=upstream, meaning=meaning, reload=True)


def _pace(name: str, kind: Kind, field: str, upstream: str, meaning: str) -> Key:
    """A key that only sets a pace: absent, the dispatcher chooses; present, it is obeyed exactly."""
    path, target = f"Containers.CloudVMs.{name}", f"settings.{field}"
    return Key(path=path, kind=kind, target=target, default=None, upstream=upstream, meaning=meaning, reload=True)


def _vms(name: str, kind: Kind, field: str, upstream: str, meaning: str) -> Key:
    return _plans(f"Containers.CloudVMs.{name}", kind, field, upstream, meaning)


def _start(path: str, kind: Kind, target: str, upstream: str, meaning: str, *, secret: bool = False) -> Key:
    """A key that is read when the dispatcher starts."""
    return Key(path=path, kind=kind, target=target, default=upstream, upstream=upstream, meaning=meaning, secret=secret)


def _unused(path: str, kind: Kind, upstream: str, meaning: str) -> Key:
    """A key of upstream's dispatcher that is accepted and has no effect here."""
    return Key(path=path, kind=kind, default=upstream, upstream=upstream, meaning=meaning)


CLUSTER_KEYS: tuple[Key, ...] = (
    _start("SystemRootToken", TEXT, "api.token", '""', "The token by which the dispatcher speaks to the API.", secret=True),
    _start(
        "ManagementToken", TEXT, "config.management_token", '""',
        "What callers of the management API have to show; empty: nobody gets in.", secret=True,
    ),
    _start("Services.Controller.ExternalURL", STRUCTURE, "", '""', "Where the API is; its host and port are what runners get."),
    _start(
        "Services.Websocket.ExternalURL", STRUCTURE, "", '""',
        "Where the API announces changes (ws or wss): they make us look at once; empty: the queue is only polled.",
    ),
    _start(
        "Services.DispatchCloud.InternalURLs", STRUCTURE, "", "{}",
        "URL → {ListenURL}: where dispatchers are. The entry that names this host says where to listen; none: 127.0.0.1:9006.",
    ),
    _start(
        "PostgreSQL.Connection", STRUCTURE, "", "{}",
        "libpq parameters of the cluster's database, whose advisory lock decides who may act; empty: a lock file on this host.",
    ),
    _unused("PostgreSQL.ConnectionPool", COUNT, "32", "One connection is enough here."),
    _start("TLS.Insecure", FLAG, "api.insecure", "false", "Do not verify the API's certificate. For test clusters only."),
    _start("SystemLogs.LogLevel", values.LOG_LEVEL, "logs.level", "info", "The least severity that is logged."),
    _start("SystemLogs.Format", values.LOG_FORMAT, "logs.format", "json", "How log lines look."),
    _start("API.MaxItemsPerResponse", COUNT, "api.max_items_per_response", "1000", "The most records in one list answer."),
    _start("API.MaxConcurrentRequests", COUNT, "api.max_concurrent_requests", "64", "How many requests the API serves at once."),
    _unused("API.MaxQueuedRequests", COUNT, "128", "The API's own limit; its 503 answers are obeyed."),
    _unused("API.MaxConcurrentRailsRequests", COUNT, "16", "The API's own limit; its 503 answers are obeyed."),
    _start(
        "API.MaxQueueTimeForLockRequests", DURATION, "api.max_queue_time_for_lock_requests_s", "2s",
        "After how long the API answers 503 to a lock.",
    ),
    _unused("API.RequestTimeout", PATIENCE, "5m", "The API's own limit; see TimeoutAPIRequest."),
    _start(
        "Containers.DispatchPrivateKey", STRUCTURE, "", '""',
        "The key for logging in to instances: PEM text, or `file:///` and the absolute path of a PEM file.", secret=True,
    ),
    _plans(
        "Containers.StaleLockTimeout", PATIENCE, "stale_lock_timeout_s", "1m",
        "How long after a start containers that an earlier process locked may stay without an instance.",
    ),
    _start("Containers.CrunchRunCommand", TEXT, "runner.command", "crunch-run", "The image's runner, when none is put there."),
    _start("Containers.CrunchRunArgumentsList", TEXTS, "runner.arguments", "[]", "Further arguments of the runner."),
    _plans("Containers.ReserveExtraRAM", SIZE, "reserve_extra_ram_bytes", "550MiB", "RAM kept for each container's runner."),
    _unused("Containers.MinRetryPeriod", DURATION, "0s", "Not used by this kind of dispatcher."),
    _start("Containers.RuntimeEngine", TEXT, "runner.engine", "docker", "What the runner starts containers with."),
    _start(
        "Containers.LocalKeepBlobBuffersPerVCPU", COUNT, "settings.local_keep_blob_buffers_per_vcpu", "1",
        "Buffers of the storage server beside each container; 0: none is started.",
    ),
    _plans(
        "Containers.MaxDispatchAttempts", COUNT, "max_dispatch_attempts", "10",
        "How often a container may be locked before it is cancelled.",
    ),
    _unused("Containers.MaxRetryAttempts", COUNT, "3", "The API retries cancelled containers by itself."),
    _unused("Containers.AlwaysUsePreemptibleInstances", FLAG, "false", "The API enforces it."),
    Key(
        path="Containers.PreemptiblePriceFactor", kind=NUMBER, target="types.preemptible_price_factor", default="0", upstream="0",
        reload=True,
        meaning="Above 0: each type that is not preemptible gets a sibling `NAME.preemptible` at its price times this.",
    ),
    _plans(
        "Containers.MaximumPriceFactor", NUMBER, "maximum_price_factor", "1.5",
        "A type may cost this many times the cheapest one that would do; less than 1 counts as 1.",
    ),
    _unused("Containers.DefaultKeepCacheRAM", SIZE, "0", "The API fills it in."),
    _unused("Containers.CloudVMs.Enable", FLAG, "false", "The dispatcher runs when it is started."),
    _start(
        "Containers.CloudVMs.SSHPort", values.PORT, "access.ssh_port", '"22"',
        "Port, or name of a service, where an instance's address names none.",
    ),
    _pace(
        "PollInterval", PATIENCE, "poll_interval_s", "10s",
        "The longest gap between two polls of the queue. Absent: 1 s while work waits, 10 s while nothing happens.",
    ),
    _start(
        "Containers.CloudVMs.BootProbeCommand", TEXT, "settings.boot_probe_command", "systemctl is-system-running",
        "Succeeds on an instance that is ready for work.",
    ),
    _vms("ProbeInterval", PATIENCE, "probe_interval_s", "10s", "The longest gap between two probes of an instance."),
    _pace(
        "MaxProbesPerSecond", RATE, "max_probes_per_second", "10",
        "The most probes that begin in a second. Absent or 0: no limit but the number of probes at once.",
    ),
    _vms("TimeoutSignal", PATIENCE, "timeout_signal_s", "5s", "How often a signal to a runner is repeated."),
    _vms(
        "TimeoutStaleRunLock", PATIENCE, "timeout_stale_run_lock_s", "5s",
        "How long a runner's lock may be reported stale before the instance is drained.",
    ),
    _vms("TimeoutTERM", PATIENCE, "timeout_term_s", "2m", "How long a runner gets to end after the first TERM."),
    _pace(
        "MaxCloudOpsPerSecond", RATE, "max_cloud_ops_per_second", "10",
        "The most cloud calls in a second, of all kinds together; see CloudOpsBurst. Absent or 0: what the driver knows of its "
        "cloud's limits.",
    ),
    _pace(
        "MaxConcurrentInstanceCreateOps", COUNT, "max_concurrent_creates", "1",
        "The most create calls at once. Absent or 0: no limit but the number of calls at once.",
    ),
    _vms("MaxInstances", COUNT, "max_instances", "64", "The most instances at once; 0: no limit."),
    _vms(
        "MaxRunningContainersPerInstance", COUNT, "max_running_containers_per_instance", "0",
        "The most containers that share an instance; 0: no limit but room.",
    ),
    _vms(
        "InitialQuotaEstimate", COUNT, "initial_quota_estimate", "0",
        "The most containers at once until the cloud has shown its quota; 0: none.",
    ),
    _vms(
        "SupervisorFraction", NUMBER, "supervisor_fraction", "0.5",
        "The share of places that supervisors (containers that start others) may take; 0: no limit.",
    ),
    _vms(
        "SyncInterval", PATIENCE, "sync_interval_s", "1m",
        "The longest gap between two lists of instances; after one that failed or told only a part, the next comes sooner.",
    ),
    _vms("TimeoutIdle", PATIENCE, "timeout_idle_s", "1m", "How long an instance may be idle before it is destroyed."),
    _vms("TimeoutBooting", PATIENCE, "timeout_booting_s", "10m", "How long an instance may take to boot."),
    _vms("TimeoutProbe", PATIENCE, "timeout_probe_s", "10m", "How long an instance may fail to answer while others do."),
    _vms("TimeoutShutdown", PATIENCE, "timeout_shutdown_s", "10s", "After how long a destroy is sent again."),
    _vms("ImageID", TEXT, "image_id", '""', "The image of new instances, as the driver names it."),
    Key(
        path="Containers.CloudVMs.InstanceInitCommand", kind=TEXT, target="settings.instance_init_command", default='""',
        upstream='""', meaning="Shell commands for the first boot of an instance.", reload=True, secret=True,
    ),
    _start(
        "Containers.CloudVMs.DeployRunnerBinary", STRUCTURE, "", "/proc/self/exe",
        "The file that is put on instances as their runner. Absent or upstream's default: the first that exists of "
        "`/usr/bin/crunch-run` and `/usr/bin/arvados-server` here, else CrunchRunCommand. Empty: CrunchRunCommand.",
    ),
    _start(
        "Containers.CloudVMs.DeployRunnerDirectory", PATH, "runner.directory", "/tmp/arvados-crunch-run",  # noqa: S108
        "Where on the instance it is put.",
    ),
    _vms("DeployPublicKey", FLAG, "deploy_public_key", "true", "Whether the driver is handed the public key for new instances."),
    _vms("ResourceTags", TAGS, "resource_tags", "{}", "Tags for each new instance."),
    _start("Containers.CloudVMs.TagKeyPrefix", TEXT, "settings.tag_prefix", "Arvados", "What our own tags begin with."),
    _start("Containers.CloudVMs.Driver", TEXT, "driver.name", "ec2", "One that `cloud-dispatcher drivers` lists."),
    _start("Containers.CloudVMs.DriverParameters", STRUCTURE, "", "{}", "The driver's own settings.", secret=True),
    Key(
        path="InstanceTypes", kind=STRUCTURE, default="{}", upstream="{}", reload=True,
        meaning="The instance types that may be created: name → properties.",
    ),
)

CERTIFICATES = replace(values.OPTIONAL_PATH, show=lambda path: path or "the system's store")
AUDIT_FILE = replace(values.OPTIONAL_PATH, show=lambda path: path or "the ordinary log only")
BURST = replace(COUNT, counts_as_absent=lambda value: value <= 0)
LOCK_FILE = replace(values.OPTIONAL_PATH, show=lambda path: path or "lock in StateFolder")

OWN_KEYS: tuple[Key, ...] = (
    _own(
        "TimeoutKILL", PATIENCE, "settings.timeout_kill_s", "20s",
        "How long after the first KILL a runner that still lives counts as unkillable.", reload=True,
    ),
    _own(
        "TimeoutAPIRequest", PATIENCE, "settings.timeout_api_request_s", "1m",
        "The deadline of one request to the API.",
    ),
    _own(
        "TimeoutCloudCall", PATIENCE, "settings.timeout_cloud_call_s", "2m",
        "The deadline of one call to the cloud; what takes longer has an unknown outcome.", reload=True,
    ),
    _own("TimeoutSSHConnect", PATIENCE, "settings.timeout_ssh_connect_s", "30s", "The deadline of one SSH login."),
    _own(
        "TimeoutSSHCommand", PATIENCE, "settings.timeout_ssh_command_s", "30s",
        "The deadline of one probe or signal on an instance.",
    ),
    _own(
        "TimeoutSSHStart", PATIENCE, "settings.timeout_ssh_start_s", "1m",
        "The deadline of the command that starts a container.",
    ),
    _own(
        "SSHThreadPerConnection", FLAG, "access.thread_per_connection", "false",
        "Give each SSH connection a thread of its own, as with a version of the SSH library that was never tried, instead "
        "of one that reads them all. It costs more memory and processor time.",
    ),
    _own(
        "APICertificateFile", CERTIFICATES, "api.certificate_file", '""',
        "PEM file of the only certificates that the API's may be signed by; empty: the system's store. Runners have a store "
        "of their own.",
    ),
    _own(
        "BrokenNodeHook", TEXT, "runner.broken_node_hook", '""',
        "A command on the instance that the runner calls when it finds its instance unfit: its argument `--broken-node-hook`, "
        "before CrunchRunArgumentsList. Empty: the runner marks the instance as broken, and it is drained.",
    ),
    _own(
        "AuditLog", AUDIT_FILE, "logs.audit_file", '""',
        "A file for what operators do and for what the dispatcher decides that destroys something, one JSON line for each, with "
        "who, why and what came of it; it is opened for each line, so that it may be renamed at any time. Empty: the ordinary "
        "log only, where acts of operators always stand.",
    ),
    Key(
        path="ReadOnlyToken", kind=TEXT, target="config.read_only_token", default='""', upstream=None, secret=True, own=True,
        meaning="A second token of the management API, for pages, lists and metrics: it may read everything and do nothing. The "
        "token itself, or `file:///` and the absolute path of a file that holds it. Empty: the ManagementToken alone.",
    ),
    _own(
        "MaxWaitTime", PATIENCE, "settings.max_wait_s", "0",
        "How long a container may wait without ever having had a place, before it is cancelled and told what it waited for. Not "
        "counted: the time in which the API or the cloud cannot be asked, or another dispatcher leads. 0: for ever. A request "
        "that allows further attempts gets a fresh container, which waits anew.", reload=True,
    ),
    _own(
        "StatusInterval", DURATION, "settings.status_interval_s", "0",
        "How often the log tells in one line how everything stands; 0: never.", reload=True,
    ),
    _own(
        "MaxCreatesPerSecond", RATE, "settings.max_creates_per_second", None,
        "The most creates in a second. Absent or 0: what the driver knows of its cloud's limits.", reload=True,
    ),
    _own("MaxListsPerSecond", RATE, "settings.max_lists_per_second", None, "The same for lists of instances.", reload=True),
    _own("MaxDestroysPerSecond", RATE, "settings.max_destroys_per_second", None, "The same for destroys.", reload=True),
    _own(
        "MaxTagUpdatesPerSecond", RATE, "settings.max_tag_updates_per_second", None,
        "The same for the calls that save an instance's tags.", reload=True,
    ),
    _own(
        "CloudOpsBurst", BURST, "settings.cloud_ops_burst", None,
        "How many calls may go at once after a quiet time, under each of these limits and MaxCloudOpsPerSecond; creates leave "
        "one to the other kinds. Absent or 0: as many as the limit allows in a second.", reload=True,
    ),
    _own(
        "MaxPricePerHour", NUMBER, "settings.max_price_per_hour", "0",
        "The most that all instances together may cost by the hour, in the unit of Price; 0: no limit. Only creates obey.",
        reload=True,
    ),
    _own(
        "MaxPricePerDay", NUMBER, "settings.max_price_per_day", "0",
        "No instance is created once so much was spent since 0:00 UTC, in the unit of Price; 0: no limit. What runs goes on.",
        reload=True,
    ),
    _own(
        "SpendingSoftShare", NUMBER, "settings.spending_soft_share", "0.8",
        "From this share of either limit on there is a warning, and no instance is created for supervisors, which begin more "
        "work; 0: not before the limit.", reload=True,
    ),
    _own(
        "PricesFromCloud", FLAG, "settings.prices_from_cloud", "false",
        "Whether the prices that the driver reads from the cloud count instead of Price in InstanceTypes: for the choice of a "
        "type, the limits and the accounts. Otherwise a difference is a warning.", reload=True,
    ),
    _own(
        "ReplaceAhead", DURATION, "settings.replace_ahead_s", "2m",
        "How long before the announced end of an instance (a spot machine that is taken back) room is asked for, for the "
        "containers that run there and will come back; 0: never.", reload=True,
    ),
    _own(
        "AllowedImages", TEXTS, "settings.allowed_images", "[]",
        "Patterns (`*`, `?`, `[…]`) of the images that a container may ask for by `runtime_constraints.image_id`; one that asks "
        "for another is cancelled. Empty: what containers ask for is ignored, with a warning.", reload=True,
    ),
    _own("StateFolder", PATH, "state.folder", "/var/lib/cloud-dispatcher", "Where hints are kept over a restart."),
    _own(
        "LockFile", LOCK_FILE, "state.lock_file", '""',
        "The file whose lock decides who may act when there is no PostgreSQL.Connection; empty: `lock` in StateFolder.",
    ),
)

KEYS: tuple[Key, ...] = CLUSTER_KEYS + OWN_KEYS
