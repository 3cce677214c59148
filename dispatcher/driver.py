"""The contract that a cloud driver implements: everything a driver author needs stands in this file.

A driver is a translator, not an actor. It turns one call into one request to its cloud and one answer back. It starts no
thread, never sleeps, never retries, keeps no cache that can lie and reads no clock: pacing, retries, metrics and time belong
to the core, so that every driver has them for nothing.

Who owns what
    The cloud remembers; the core decides; the driver forgets. An instance is described by its name and tags alone, and belongs to
    whoever's InstanceSetID it carries. A driver shows, changes and removes nothing else, whatever id it is given.
What may be stale
    A list may be ``list_lag_s`` old, tags included: the core reckons with it. Nothing that the driver keeps may make it older.
    A list that could not be read to its end says ``complete=False``, or raises: what a complete list leaves out counts as gone.
What must be idempotent
    ``destroy``, ``set_tags`` and ``delete_leftover``, always: they are sent again when nobody knows what became of them.
    ``create``, only where ``create_is_idempotent`` is declared.
Which error when
    Refused by the cloud: the class that fits, with the scope that the cloud's answer proves and no wider one. Perhaps carried out
    (time-out, lost connection, 5xx after sending): ``outcome_unknown``. A bug is left to raise what it raises.

An installed package offers a driver by an entry point of the group ``dispatcher.drivers``: ``NAME = package.module:open``. That
module says for which version of this contract it was written: ``DRIVER_CONTRACT = "1.0"``.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

ENTRY_POINT_GROUP = "dispatcher.drivers"

CONTRACT_VERSION = (1, 0)
"""Major, minor. Something optional was added: the minor number rises, and older drivers go on. Something that drivers rely on has
changed: the major number rises, and drivers for another one are refused when they are loaded. A module without
``DRIVER_CONTRACT`` counts as written for 1.0; it says the number itself, for an imported one would always agree."""


# ---------------------------------------------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True, kw_only=True)
class GPU:
    """The accelerators of one instance type. ``vram_bytes`` is per device."""

    stack: str = ""
    driver_version: str = ""
    hardware_target: str = ""
    device_count: int = 0
    vram_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """One row of the cluster's ``InstanceTypes``. Sizes are bytes, ``price`` is per hour in the site's currency."""

    name: str
    provider_type: str
    vcpus: int
    ram_bytes: int
    included_scratch_bytes: int = 0
    added_scratch_bytes: int = 0
    price: float = 0.0
    preemptible: bool = False
    gpu: GPU = field(default_factory=GPU)

    @property
    def scratch_bytes(self) -> int:
        return self.included_scratch_bytes + self.added_scratch_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """What to create. ``name`` is unique and chosen by the core; ``init_script`` starts with ``#!/bin/sh`` and ``public_key``
    is an OpenSSH ``authorized_keys`` line, or None when the image already trusts the dispatcher's key. ``created_at`` (RFC 3339
    UTC) is for tags that a site or another dispatcher reads; empty when nobody knows the time."""

    name: str
    instance_type: InstanceType
    image_id: str
    tags: Mapping[str, str]
    init_script: str
    public_key: str | None
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Created:
    """The cloud accepted the create. ``operation`` is a handle for ``poll_create`` when the cloud still works on it."""

    id: str
    operation: str | None = None


class Presence(enum.StrEnum):
    """What a cloud says of a listed instance."""

    PRESENT = "present"
    DELETING = "deleting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A public host key: ``type`` as in ``ssh-ed25519`` and ``base64`` as in an authorized_keys line."""

    type: str
    base64: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance as a list shows it. ``address`` is ``host``, ``host:port`` or ``[v6]:port``; None while there is none yet.
    ``name`` is the name of the CreateRequest; ``created_at`` is RFC 3339 UTC for display only. ``host_keys`` are those that the
    cloud vouches for, when a list tells them (a driver that has to ask for them offers the capability instead)."""

    id: str
    name: str
    provider_type: str
    address: str | None = None
    user: str = "root"
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: str | None = None
    state: Presence = Presence.PRESENT
    failure: CloudError | None = None
    host_keys: tuple[HostKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Leftover:
    """A resource of ours (disk, network card, address) that no instance uses any more. ``id`` is opaque to the core."""

    id: str
    kind: str
    created_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What an instance was told of its own end. ``ends_at`` (Unix seconds): when, if its cloud said so."""

    text: str
    ends_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much of a quota is used, in vCPUs. ``group`` is as ``quota_group`` names it; empty: all types together that are not
    preemptible."""

    group: str
    used: float
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one instance of a type costs per hour. ``name`` is that of the InstanceType; ``currency`` is for display."""

    name: str
    per_hour: float
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeFacts:
    """What the cloud says of an InstanceType, ``name`` as there. ``vcpus`` and ``ram_bytes``: what it really has, None = not
    said. ``unavailable``: why a create of it must fail, as it is configured, whatever the quota; empty when it may succeed.
    ``warning``: what else somebody should know. ``quota_group``: where the cloud itself names the group it counts against."""

    name: str
    vcpus: int | None = None
    ram_bytes: int | None = None
    unavailable: str = ""
    warning: str = ""
    quota_group: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """``complete`` is False when a page failed or was cut: such a list may add and refresh, and proves no absence."""

    instances: tuple[Instance, ...]
    leftovers: tuple[Leftover, ...] = ()
    complete: bool = True
    usages: tuple[Usage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Calls per second that the cloud is known to allow, by kind of call; None = unknown. ``burst`` calls may go at once."""

    create: float | None = None
    list: float | None = None
    destroy: float | None = None
    set_tags: float | None = None
    burst: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What this driver can do beyond the four calls. Declared here, never discovered by failing.

    ``create_is_idempotent``  sending the same name again answers with the instance that the first call made
    ``list_lag_s``            seconds until a list must show what a call changed (eventual consistency)
    ``poll_create``           ``poll_create(operation, call)`` tells how an accepted create stands: True (done), False (still
                              working), or a CloudError as the value (it failed). What it raises says only that the call
                              itself failed
    ``host_keys``             ``host_keys(instance_id)`` returns the host keys that the cloud vouches for
    ``delete_leftover``       ``delete_leftover(leftover, call)`` removes one of ``Listing.leftovers``
    ``leftover_age_s``        how old a leftover has to be at least before it is removed
    ``notices``               ``notice_command`` is a shell command that prints, on an instance and within two seconds, what its
                              cloud has told it of its own end; ``parse_notice(text, name)`` returns why the instance of this
                              name is about to end, as a text or a ``Notice`` with its time, or an empty text
    ``quota_groups``          ``quota_group(instance_type)`` names the group whose quota a type counts against
    ``usages``                a list tells ``Listing.usages`` when it is asked for them: what is full is not asked for
    ``prices``                ``prices(instance_types, call)`` returns what is known of their prices, as ``Price`` values; asked
                              once per ``prices_period_s``
    ``type_facts``            ``type_facts(instance_types, call)`` returns ``TypeFacts``: what cannot be had is not asked for;
                              asked once per ``types_period_s``
    ``host_local``            instances share this host: their runner must not fence on host-wide paths
    """

    create_is_idempotent: bool = False
    list_lag_s: float = 0.0
    poll_create: bool = False
    host_keys: bool = False
    delete_leftover: bool = False
    leftover_age_s: float = 0.0
    notices: bool = False
    quota_groups: bool = False
    usages: bool = False
    prices: bool = False
    prices_period_s: float = 86400.0
    type_facts: bool = False
    types_period_s: float = 3600.0
    host_local: bool = False
    limits: RateLimits = field(default_factory=RateLimits)


# ---------------------------------------------------------------------------------------------------------------- errors


class Scope(enum.StrEnum):
    """How far a refusal reaches."""

    REQUEST = "request"  # only this request: another like it may succeed
    TYPE = "type"  # every request for this instance type
    GROUP = "group"  # every type of this quota group
    EVERYTHING = "everything"


class CloudError(Exception):
    """A call failed and nothing more is known than the text: wait, then try again.

    ``outcome_unknown`` is True when the request may have taken effect (time-out, lost connection, 5xx after sending).
    The text is shown to operators: it must hold no secret.
    """

    def __init__(self, text: str = "", *, scope: Scope | str = Scope.REQUEST, outcome_unknown: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.scope = Scope(scope)
        self.outcome_unknown = outcome_unknown


class RateLimited(CloudError):
    """The cloud asks for a pause before the next call of this kind: give ``retry_after_s`` (seconds from now) or
    ``retry_at`` (Unix seconds, when the cloud named a date). With neither the core chooses a pause that grows."""

    def __init__(
        self,
        text: str = "",
        *,
        retry_after_s: float | None = None,
        retry_at: float | None = None,
        scope: Scope | str = Scope.EVERYTHING,
    ) -> None:
        super().__init__(text, scope=scope)
        self.retry_after_s = retry_after_s
        self.retry_at = retry_at


class QuotaReached(CloudError):
    """The account's quota is used up for ``scope``; it frees itself when instances end."""


class NoCapacity(CloudError):
    """The cloud has no machine of this kind right now, whatever the quota."""


class Denied(CloudError):
    """The credentials are wrong, expired or lack a permission: an operator has to mend it."""


class Misconfigured(CloudError):
    """A setting is wrong. ``path`` names the key as in the file, below ``DriverParameters`` (``Network.Subnet``)."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}" if path else text, scope=Scope.EVERYTHING)
        self.path = path


# -------------------------------------------------------------------------------------------------------------- contract


@dataclass(slots=True, kw_only=True)
class Call:
    """Carries the deadline in, and lets the driver report out what the very answer said.

    ``timeout_s`` bounds the whole call. A driver may set ``calls_remaining`` (of this kind), ``retry_after_s`` (before which no
    call of this kind is welcome), ``limit`` and ``usage`` (of the quota that was touched); the core paces itself by them.
    ``poll_after_s`` is about this one create: when to ask next how it stands. ``leftovers`` and ``usages`` are
    False when nobody asks a list for them: a driver for which they cost more requests saves these.
    """

    timeout_s: float
    leftovers: bool = True
    usages: bool = True
    calls_remaining: int | None = None
    retry_after_s: float | None = None
    poll_after_s: float | None = None
    limit: float | None = None
    usage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverSettings:
    """What ``open`` gets. ``parameters`` is the mapping under ``DriverParameters``, as in the file.

    An instance belongs to us when its tag ``{tag_prefix}InstanceSetID`` equals ``instance_set_id``; what lacks it is never
    touched. ``log`` is for warnings that no answer can carry.
    """

    parameters: Mapping[str, Any]
    instance_set_id: str
    tag_prefix: str
    log: logging.Logger


class Driver(Protocol):
    """A cloud. Every method may be called from several threads at once and raises only ``CloudError`` and its kin."""

    capabilities: Capabilities = Capabilities()

    def create(self, request: CreateRequest, call: Call) -> Created:
        """Ask for one instance; return as soon as the cloud has accepted."""

    def list(self, call: Call) -> Listing:
        """Every instance of our set, in whatever state, with fresh tags and addresses."""

    def destroy(self, instance_id: str, call: Call) -> None:
        """Destroy. An instance that is already gone is success; calling twice is harmless."""

    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        """Replace the tags of ours by exactly ``tags`` (the full map)."""


OpenDriver = Callable[[DriverSettings], Driver]
"""``open(settings)``: makes no cloud call and raises ``Misconfigured(path, text)`` for a wrong parameter."""
