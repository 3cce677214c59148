"""Every way in which the stub cloud misbehaves, as one frozen value. The defaults are unkind (late, stale, refusing);
``StubKnobs.kind()`` is a cloud that does what it is told at once.

``..._rate`` is a chance between 0 and 1 per call, instance or process; ``..._s`` is in seconds; ``max_..._s`` is the upper end
of a span that is drawn evenly from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StubKnobs:
    """A cloud swaps them at any time: ``cloud.knobs = StubKnobs.kind()`` ends all new faults."""

    # What the driver declares (read once, when it is opened)
    create_is_idempotent: bool = True
    polls_creates: bool = True
    offers_host_keys: bool = False
    deletes_leftovers: bool = True
    leftover_age_s: float = 20.0
    tells_usages: bool = False
    tells_prices: bool = False
    tells_types: bool = False
    catalogue_period_s: float = 60.0

    # Pace: a call that comes sooner after the last one of its kind is refused with RateLimited
    min_create_interval_s: float = 0.05
    min_list_interval_s: float = 0.05
    min_destroy_interval_s: float = 0.0
    rate_hint_rate: float = 0.5  # how often RateLimited says when to come back
    calls_per_minute: Mapping[str, int] = field(default_factory=dict)  # kind of call → how many; answers say how many are left

    # How long a call takes; the stub itself waits only when it was given ``pause``
    create_takes_s: float = 1.0
    list_takes_s: float = 0.5
    destroy_takes_s: float = 0.5
    set_tags_takes_s: float = 0.2

    # Refusals
    quota_instances: int | None = None
    quota_by_group: Mapping[str, int] = field(default_factory=dict)
    capacity_by_type: Mapping[str, int] = field(default_factory=dict)
    unoffered: frozenset[str] = frozenset()  # names of instance types that the cloud does not have
    denied: bool = False
    false_full_rate: float = 0.0  # what it says of its quota is older than an instance that went

    # Failures of calls
    create_error_rate: float = 0.05
    list_error_rate: float = 0.05
    destroy_error_rate: float = 0.05
    set_tags_error_rate: float = 0.05
    poll_create_error_rate: float = 0.05
    driver_bug_rate: float = 0.0  # an exception that the contract does not know

    # The catalogue of prices and types
    catalogue_error_rate: float = 0.05
    falsely_unoffered_rate: float = 0.0  # it says that it does not have a type, and it has
    price_of: Mapping[str, float] = field(default_factory=dict)  # instance type → what it asks; else the file's price
    max_price_change: float = 0.0  # the price that it asks differs from the file's by up to this share

    # Unknown outcomes
    lost_answer_rate: float = 0.05  # create, destroy and set_tags take effect, and the call raises
    false_unknown_rate: float = 0.03  # the call raises "outcome unknown" and nothing happened

    # Late failures: accepted, failed afterwards
    late_failure_rate: float = 0.03
    max_late_failure_s: float = 20.0

    # Lists
    list_lag_s: float = 3.0  # a list shows the cloud as it was up to so long ago
    tags_lag_s: float = 5.0  # and the tags of up to so long before that
    partial_list_rate: float = 0.05  # complete=False, with some instances left out
    lying_list_rate: float = 0.0  # complete=True, with some left out; never twice in a row

    # Destroy
    max_destroy_s: float = 15.0  # until it is gone; it runs on until then
    ignored_destroy_rate: float = 0.05  # accepted, and nothing happens
    leftover_rate: float = 0.05  # something stays behind when an instance goes
    delete_leftover_error_rate: float | None = None  # None: as often as a destroy fails

    # Instances
    address_s: float = 2.0
    boot_s: float = 30.0
    max_boot_extra_s: float = 30.0
    never_boots_rate: float = 0.02
    broken_rate: float = 0.02  # "cannot fork", from some time after the boot on
    report_broken_rate: float = 0.02  # the runner reports "broken"
    hang_rate: float = 0.01  # SSH stops answering, what runs there runs on
    max_good_s: float = 600.0  # when broken, reported or hung: so long after the boot at the latest
    runner_missing_rate: float = 0.01

    # Runners
    detach_s: float = 1.0  # from the start command until the runner is listed
    prepare_s: float = 2.0  # from there until the container is Running
    container_s: float = 60.0  # how long one runs when nobody says
    runner_crash_rate: float = 0.03  # half of them before the container is Running
    max_term_s: float = 5.0  # from TERM to the end
    ignores_term_rate: float = 0.05
    unkillable_rate: float = 0.01
    max_stale_lock_s: float = 3.0  # the lock outlives the runner ("stale")
    stuck_lock_rate: float = 0.01  # and never goes

    @classmethod
    def kind(cls, **changes: Any) -> StubKnobs:
        """Prompt, honest and willing; ``changes`` on top."""
        return replace(cls(), **{**_KIND, **changes})


_KIND: dict[str, Any] = {
    "min_create_interval_s": 0.0,
    "min_list_interval_s": 0.0,
    "rate_hint_rate": 1.0,
    "create_takes_s": 0.0,
    "list_takes_s": 0.0,
    "destroy_takes_s": 0.0,
    "set_tags_takes_s": 0.0,
    "create_error_rate": 0.0,
    "list_error_rate": 0.0,
    "destroy_error_rate": 0.0,
    "set_tags_error_rate": 0.0,
    "poll_create_error_rate": 0.0,
    "lost_answer_rate": 0.0,
    "false_unknown_rate": 0.0,
    "late_failure_rate": 0.0,
    "catalogue_error_rate": 0.0,
    "list_lag_s": 0.0,
    "tags_lag_s": 0.0,
    "partial_list_rate": 0.0,
    "max_destroy_s": 0.0,
    "ignored_destroy_rate": 0.0,
    "leftover_rate": 0.0,
    "address_s": 0.0,
    "boot_s": 0.0,
    "max_boot_extra_s": 0.0,
    "never_boots_rate": 0.0,
    "broken_rate": 0.0,
    "report_broken_rate": 0.0,
    "hang_rate": 0.0,
    "runner_missing_rate": 0.0,
    "detach_s": 0.0,
    "prepare_s": 0.0,
    "container_s": 1.0,
    "runner_crash_rate": 0.0,
    "max_term_s": 0.0,
    "ignores_term_rate": 0.0,
    "unkillable_rate": 0.0,
    "max_stale_lock_s": 0.0,
    "stuck_lock_rate": 0.0,
}
