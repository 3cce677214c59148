"""Draws the fate of a new stub instance: when it boots, whether and when it turns bad."""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING

from dispatcher.driver import CreateRequest, HostKey, NoCapacity, QuotaReached, Scope
from drivers.stub.instance import StubInstance

if TYPE_CHECKING:
    from drivers.stub.cloud import StubCloud


def build_instance(cloud: StubCloud, instance_id: str, request: CreateRequest, secret: str, now: float) -> StubInstance:
    """A machine that boots at its time, unless fate has something else for it."""
    instance = StubInstance(
        id=instance_id,
        name=request.name,
        type=request.instance_type,
        created_s=now,
        secret=secret,
        init_script=request.init_script,
        image_id=request.image_id,
        public_key=request.public_key,
        address=_free_address(cloud, now),
        host_keys=(_host_key(cloud.random),) if cloud.knobs.offers_host_keys else (),
        tag_history=[(now, dict(request.tags))],
        knobs=cloud.knobs,
        random=cloud.random,
        workload=cloud.workload,
        lock=cloud.lock,
    )
    _draw_boot(cloud, instance)
    _draw_faults(cloud, instance)
    _draw_late_failure(cloud, instance)
    return instance


def _free_address(cloud: StubCloud, now: float) -> str:
    """Clouds give the address of a machine that is gone to the next one."""
    taken = {instance.address for instance in cloud.existing(now)}
    addresses = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}" for number in itertools.count(1))
    return next(address for address in addresses if address not in taken)


def _host_key(draw: random.Random) -> HostKey:
    return HostKey("ssh-ed25519", f"{draw.getrandbits(128):032x}")


def _draw_boot(cloud: StubCloud, instance: StubInstance) -> None:
    knobs, now = cloud.knobs, instance.created_s
    boot_s = knobs.boot_s + cloud.random.uniform(0, knobs.max_boot_extra_s)
    instance.address_at_s = now + knobs.address_s
    instance.booted_at_s = now + boot_s
    instance.ssh_at_s = now + boot_s * cloud.random.uniform(0.5, 1)
    if _happens(cloud, "instance never boots", knobs.never_boots_rate):
        instance.booted_at_s = math.inf
        instance.ssh_at_s = math.inf if cloud.random.random() < 0.5 else instance.ssh_at_s


def _draw_faults(cloud: StubCloud, instance: StubInstance) -> None:
    knobs, good_until_s = cloud.knobs, instance.booted_at_s + cloud.random.uniform(0, cloud.knobs.max_good_s)
    if _happens(cloud, "instance breaks", knobs.broken_rate):
        instance.broken_at_s = good_until_s
    if _happens(cloud, "instance reports broken", knobs.report_broken_rate):
        instance.report_broken_at_s = good_until_s
    if _happens(cloud, "instance hangs", knobs.hang_rate):
        instance.hung_at_s = good_until_s
    instance.runner_missing = _happens(cloud, "runner missing", knobs.runner_missing_rate)


def _draw_late_failure(cloud: StubCloud, instance: StubInstance) -> None:
    if not _happens(cloud, "create: late failure", cloud.knobs.late_failure_rate):
        return
    instance.failed_at_s = instance.created_s + cloud.random.uniform(0, cloud.knobs.max_late_failure_s)
    instance.failure = cloud.random.choice(
        [
            NoCapacity("allocation failed", scope=Scope.TYPE),
            QuotaReached("quota exceeded while allocating", scope=Scope.GROUP),
        ]
    )


def _happens(cloud: StubCloud, what: str, rate: float) -> bool:
    if cloud.random.random() >= rate:
        return False
    cloud.faults[what] += 1
    return True
