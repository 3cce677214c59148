"""The settings of the site with what its driver declares: one rule for the daemon and the simulation.

What a driver does not declare is never asked for, so that a setting that stays at its default turns a planner off.
"""

from __future__ import annotations

from typing import Protocol

from dispatcher.core.settings import Settings
from dispatcher.core.values import replace
from dispatcher.driver import Capabilities, InstanceType


class Declares(Protocol):
    """A driver, or what stands before it."""

    @property
    def capabilities(self) -> Capabilities: ...

    def quota_group(self, instance_type: InstanceType, /) -> str: ...


def with_driver(settings: Settings, driver: Declares) -> Settings:
    can = driver.capabilities
    return replace(
        settings,
        create_is_idempotent=can.create_is_idempotent,
        list_lag_s=can.list_lag_s,
        polls_creates=can.poll_create,
        deletes_leftovers=can.delete_leftover,
        leftover_age_s=can.leftover_age_s,
        tells_usages=can.usages,
        prices_period_s=can.prices_period_s if can.prices else 0.0,
        types_period_s=can.types_period_s if can.type_facts else 0.0,
        cloud_limits=can.limits,
        quota_groups={name: driver.quota_group(offer) for name, offer in settings.instance_types.items()},
    )
