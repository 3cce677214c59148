"""Incidents as they really show: each is done to a World at work, and the verdict has to name its cause.

An incident says how the World is set up, what strikes it, and how long it is given. What clouds say stands in their own words.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dispatcher.core import messages as m
from dispatcher.core.model import IdleBehavior
from dispatcher.driver import CloudError, RateLimited
from drivers.azure.errors import error_of, refusal_of
from drivers.azure.headers import Pace
from tests.fake_azure import errors as azure
from tests.simulation.worlds import Town, offer, wants

LONG_S = 7200.0


@dataclass(frozen=True, kw_only=True)
class Incident:
    """``causes``: which of them the verdict may name; ``text``: what its sentence has to hold."""

    name: str
    causes: tuple[str, ...]
    strike: Callable[[Town], None]
    text: str = ""
    for_s: float = 130.0
    offers: tuple[Any, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    knobs: dict[str, Any] = field(default_factory=dict)


def more(town: Town, count: int = 4, vcpus: int = 4, **others: Any) -> list[str]:
    """Work for which there is no instance yet."""
    return [town.submit(wants(vcpus, **others), length_s=LONG_S) for _ in range(count)]


def knobs(town: Town, **changes: Any) -> None:
    town.stub.knobs = replace(town.stub.knobs, **changes)


def refuse(call: str, make: Callable[[], CloudError]) -> Callable[[Town], None]:
    """Every call of this kind is answered so, and more work comes."""

    def strike(town: Town) -> None:
        town.cloud.refusals[call] = make
        more(town)

    return strike


def says(refused: azure.Refused, **pace: Any) -> Callable[[], CloudError]:
    """What the Azure driver makes of Azure's answer."""
    body = json.dumps(refused.body())
    return lambda: error_of(refusal_of(refused.status, body, Pace(**pace)), has_effect=True)


def told(status: int, code: str, message: str) -> Callable[[], CloudError]:
    return says(azure.Refused(status=status, code=code, message=message))


def down(status: int | None, text: str) -> Callable[[Town], None]:
    """The queue service answers so, or not at all."""

    def strike(town: Town) -> None:
        town.queue.knobs.down = (status, text)
        town.queue.knobs.down_until_s = 1e9
        more(town)

    return strike


def with_knobs(**changes: Any) -> Callable[[Town], None]:
    def strike(town: Town) -> None:
        knobs(town, **changes)
        more(town)

    return strike


def existing(town: Town) -> list[Any]:
    return list(town.stub.existing())


# ------------------------------------------------------------------------------------------------------------------ strikes


def full(town: Town) -> None:
    with_knobs(quota_instances=len(existing(town)))(town)


def throttled(town: Town) -> None:
    refuse("create", lambda: RateLimited("create: too many requests", retry_after_s=20.0))(town)


def few_a_minute(town: Town) -> None:
    knobs(town, calls_per_minute={"create": 2})
    more(town, 20)


def no_deletes(town: Town) -> None:
    """The cloud says yes to every destroy, and nothing happens."""
    knobs(town, ignored_destroy_rate=1.0)
    for machine in existing(town):
        town.leader.post(m.InstanceKillRequested(name=machine.name, reason="to be rid of it", actor="ada"))


def refused_deletes(town: Town) -> None:
    town.cloud.refusals["destroy"] = told(409, "CannotDeleteLock", "The scope cannot be deleted: somebody locked it.")
    for machine in existing(town):
        town.leader.post(m.InstanceKillRequested(name=machine.name, reason="to be rid of it", actor="ada"))


def wrong_key(town: Town) -> None:
    town.instances.knobs.refused_login_rate = 1.0
    more(town)


def impostor(town: Town) -> None:
    town.instances.strangers.add(existing(town)[0].name)


def new_impostor(town: Town) -> None:
    """The next machines are not the ones we made, from their first contact on."""
    town.instances.strangers |= {f"compute-{number:05d}" for number in range(1, 40)} - {i.name for i in existing(town)}
    more(town, 1)


def cut(town: Town) -> None:
    town.cut_network(1e9)


def one_hangs(town: Town) -> None:
    existing(town)[0].hung_at_s = town.clock.now_s


def one_breaks(town: Town) -> None:
    existing(town)[0].broken_at_s = town.clock.now_s


def reports_broken(town: Town) -> None:
    existing(town)[0].report_broken_at_s = town.clock.now_s


def taken_back(town: Town) -> None:
    """One after another, within some minutes."""
    for number, machine in enumerate(existing(town)[:4]):
        town.later(20.0 * number, lambda name=machine.name: town.lose(name))


def announced(town: Town) -> None:
    for machine in existing(town)[:4]:
        machine.notice = "Preempt: EventStatus Scheduled"


def clock_put(by_s: float) -> Callable[[Town], None]:
    def strike(town: Town) -> None:
        town.clock.wall_offset_s += by_s

    return strike


def kept(behavior: IdleBehavior) -> Callable[[Town], None]:
    def strike(town: Town) -> None:
        for machine in existing(town):
            town.leader.post(m.IdleBehaviorSet(name=machine.name, behavior=behavior, actor="ada", reason="maintenance"))
        more(town)

    return strike


def held_back(town: Town) -> None:
    """No create is answered any more."""
    town.stub.hold()
    more(town)


def lost_lead(town: Town) -> None:
    town.leader.post(m.LeadershipLost(holder="dispatcher2, since 12:03"))


def refused_starts(town: Town) -> None:
    town.instances.knobs.refused_start_rate = 1.0
    more(town, 3, 1)


def overloaded(town: Town) -> None:
    town.queue.knobs.overload_rate = 1.0
    more(town, 3, 1)


def supervisors(town: Town) -> None:
    more(town, 8, 1, supervisor=True)


def huge(town: Town) -> None:
    more(town, 2, 1000)


def partial(town: Town) -> None:
    knobs(town, partial_list_rate=1.0)


def late_failures(town: Town) -> None:
    knobs(town, late_failure_rate=1.0, max_late_failure_s=5.0, boot_s=30.0)
    more(town)


def unkillable(town: Town) -> None:
    for machine in existing(town):
        for process in machine.processes.values():
            process.unkillable = True
            town.leader.post(m.ContainerKillRequested(uuid=process.uuid, reason="it hangs", actor="ada"))
        town.leader.post(m.IdleBehaviorSet(name=machine.name, behavior=IdleBehavior.HOLD, actor="ada", reason="to look at it"))


SPOT = (replace(offer("a2", 2), preemptible=True), replace(offer("b4", 4), preemptible=True))
AUTH = (
    "The client 'x' with object id 'y' does not have authorization to perform action "
    "'Microsoft.Compute/virtualMachines/write' over scope '/subscriptions/z' or the scope is invalid."
)
SUBNET = "Subnet compute with address prefix 10.0.0.0/24 does not have enough capacity for 1 IP addresses."
IPS = "Cannot create more than 100 public IP addresses for this subscription in this region."
NICS = "Cannot create more than 500 network interfaces for this subscription in this region."
POLICY = "Resource 'compute-1' was disallowed by policy. Policy identifiers: 'only-small-sizes'."
EXPIRED = "AADSTS7000222: The provided client secret keys for app 'x' are expired."
SKEWED = "AADSTS700024: Client assertion is not within its valid time range."

INCIDENTS = (
    # -- quotas and capacity
    Incident(name="quota of the account", causes=("quota",), strike=full),
    Incident(name="quota of a family", causes=("quota",), text="standardDSv5Family in westeurope (8 of 10 used)",
             strike=refuse("create", says(azure.cores_exceeded("standardDSv5Family Cores", "westeurope", 10, 8, 4)))),
    Incident(name="quota of the region", causes=("quota-region",),
             strike=refuse("create", says(azure.cores_exceeded("Total Regional Cores", "westeurope", 20, 20, 4)))),
    Incident(name="quota of spot cores", causes=("quota-spot",),
             strike=refuse("create", says(azure.cores_exceeded("LowPriorityCores", "westeurope", 3, 3, 4)))),
    Incident(name="quota of disks", causes=("disk-quota",),
             strike=refuse("create", says(azure.cores_exceeded("PremiumDiskCount", "westeurope", 50, 50, 1)))),
    Incident(name="no capacity", causes=("no-capacity",), strike=refuse("create", says(azure.allocation_failed("Standard_D4")))),
    Incident(name="size not available", causes=("no-capacity",),
             strike=refuse("create", says(azure.sku_not_available("Standard_D4", "westeurope")))),
    Incident(name="capacity, after it was accepted", for_s=100.0, causes=("no-capacity", "quota"), strike=late_failures),
    Incident(name="full subnet", causes=("subnet-full",), text="subnet",
             strike=refuse("create", told(400, "SubnetIsFull", SUBNET))),
    Incident(name="no addresses left", causes=("address-quota",),
             strike=refuse("create", told(400, "PublicIPCountLimitReached", IPS))),
    Incident(name="no network cards left", causes=("card-quota",),
             strike=refuse("create", told(400, "NetworkInterfaceCountLimitReached", NICS))),
    # -- pace
    Incident(name="throttled creates", causes=("rate-limit",), strike=throttled),
    Incident(name="throttled by the compute service", causes=("rate-limit",),
             strike=refuse("create", says(azure.compute_throttled("PutVM3Min", 60, 10), retry_after_s=60.0))),
    Incident(name="throttled at the front door", causes=("rate-limit",),
             strike=refuse("*", says(azure.front_door_throttled("read", 17), retry_after_s=17.0))),
    Incident(name="few calls a minute", causes=("rate-limit",), strike=few_a_minute, for_s=150.0),
    # -- credentials and settings of the cloud
    Incident(name="credentials refused", causes=("cloud-credentials",), strike=with_knobs(denied=True)),
    Incident(name="client secret expired", causes=("cloud-credentials",),
             strike=refuse("*", told(401, "invalid_client", EXPIRED))),
    Incident(name="clock refused", causes=("clock-wrong",), strike=refuse("*", told(401, "invalid_client", SKEWED))),
    Incident(name="permission missing", causes=("cloud-permission",),
             strike=refuse("create", told(403, "AuthorizationFailed", AUTH))),
    Incident(name="forbidden by a policy", causes=("policy",),
             strike=refuse("create", told(403, "RequestDisallowedByPolicy", POLICY))),
    Incident(name="image deleted", causes=("image-not-found",), strike=refuse("create", says(azure.no_image("crunch-image-7")))),
    Incident(name="subnet deleted", causes=("subnet-not-found",),
             strike=refuse("create", says(azure.no_subnet("/subscriptions/x/virtualNetworks/v/subnets/compute")))),
    Incident(name="resource group deleted", causes=("resource-group-not-found",),
             strike=refuse("*", says(azure.no_group("compute")))),
    Incident(name="size unknown", causes=("instance-size",), strike=refuse("create", says(azure.unknown_size("Standard_X9")))),
    # -- the cloud
    Incident(name="cloud unreachable", causes=("cloud-unreachable",),
             strike=refuse("*", lambda: CloudError("connection refused", outcome_unknown=True))),
    Incident(name="cloud answers 500", causes=("cloud-unreachable", "cloud-error"), strike=refuse("*", says(azure.internal()))),
    Incident(name="creates are not answered", causes=("creates-unknown",), strike=held_back),
    Incident(name="partial lists", causes=("cloud-list-partial",), strike=partial, for_s=900.0),
    Incident(name="destroys come to nothing", for_s=300.0, causes=("stuck-destroys",), strike=no_deletes),
    Incident(name="destroys are refused", causes=("stuck-destroys",), strike=refused_deletes),
    # -- the queue service
    Incident(name="dead API", causes=("queue-unreachable",), strike=down(None, "Connection refused")),
    Incident(name="wrong token", causes=("queue-token",), strike=down(401, "HTTP 401: Not logged in")),
    Incident(name="token without rights", causes=("queue-token",), strike=down(403, "HTTP 403: Forbidden")),
    Incident(name="API answers 500", causes=("queue-error",), strike=down(500, "HTTP 500: no reason given")),
    Incident(name="API answers 502", causes=("queue-error",), strike=down(502, "HTTP 502: Bad Gateway")),
    Incident(name="API answers nonsense", causes=("queue-garbage",), strike=down(200, "the answer is not JSON")),
    Incident(name="certificate expired", causes=("queue-certificate",),
             strike=down(None, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired")),
    Incident(name="locks refused with 503", causes=("queue-overloaded",), strike=overloaded),
    # -- instances
    Incident(name="image that never answers", for_s=200.0, causes=("does-not-boot",),
             strike=with_knobs(never_boots_rate=1.0, boot_s=20.0)),
    Incident(name="image without a runner", for_s=200.0, causes=("does-not-boot",), text="not found",
             strike=with_knobs(runner_missing_rate=1.0)),
    Incident(name="image that never boots, given up", causes=("does-not-boot",), for_s=400.0, text="of type b4 did not come up",
             settings={"timeout_booting_s": 120.0}, strike=with_knobs(never_boots_rate=1.0)),
    Incident(name="wrong key", causes=("login-refused",), strike=wrong_key),
    Incident(name="impostor", causes=("impostor",), strike=impostor),
    Incident(name="impostor from the first contact on", causes=("impostor",), strike=new_impostor),
    Incident(name="our own network", causes=("network-down",), strike=cut),
    Incident(name="one instance hangs", causes=("instances-silent",), strike=one_hangs),
    Incident(name="one instance cannot fork", causes=("runner-broken",), strike=one_breaks),
    Incident(name="one instance reports itself broken", causes=("runner-broken",), strike=reports_broken),
    Incident(name="spot wave", causes=("spot-wave",), strike=taken_back, offers=SPOT,
             knobs={}, settings={}),
    Incident(name="spot wave, announced", causes=("spot-wave",), strike=announced, for_s=60.0),
    Incident(name="instances disappear", causes=("instances-lost",), strike=taken_back),
    # -- the host, operators, limits
    Incident(name="clock put forward", causes=("clock-jump",), strike=clock_put(3600.0)),
    Incident(name="clock put back", causes=("clock-jump",), strike=clock_put(-400.0)),
    Incident(name="another dispatcher leads", causes=("not-leading",), strike=lost_lead, text="dispatcher2"),
    Incident(name="MaxInstances", causes=("max-instances",), strike=more, settings={"max_instances": 4}),
    Incident(name="everything is held", causes=("fleet-held",), strike=kept(IdleBehavior.HOLD), settings={"max_instances": 4},
             text="chosen by ada"),
    Incident(name="everything is drained", causes=("fleet-held",), strike=kept(IdleBehavior.DRAIN),
             settings={"max_instances": 4}),
    Incident(name="money of the hour", causes=("price-hour",), strike=more, settings={"max_price_per_hour": 1.7}),
    Incident(name="money of the day", causes=("price-day",), strike=more, settings={"max_price_per_day": 0.005}),
    Incident(name="supervisors", causes=("supervisors",), strike=supervisors, settings={"max_instances": 8}),
    Incident(name="too large for anything", causes=("unsatisfiable",), strike=huge),
    Incident(name="runners that are refused", causes=("attempts-fail",), strike=refused_starts),
    Incident(name="runners that cannot be killed", causes=("unkillable",), strike=unkillable,
             settings={"timeout_term_s": 20.0}),
)  # fmt: skip
