"""Every way in which the fake is slow, late, full or broken, as one frozen value. The defaults are unkind; ``kind()`` is not.

``..._rate`` is a chance between 0 and 1 per call or machine; ``..._s`` is in seconds; ``max_..._s`` is the upper end of a span
that is drawn evenly from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fake_azure.buckets import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """A test may swap them at any time: ``azure.knobs = Knobs.kind()`` ends all new faults."""

    limits: Limits = field(default_factory=Limits)  # read once, when the fake is made

    # Login
    token_life_s: float = 3600.0
    login_error_rate: float = 0.0

    # What goes wrong with a call, whatever it asks
    throttled_rate: float = 0.01  # 429 with Retry-After, although the bucket had room
    bad_gateway_rate: float = 0.01  # an HTML page, 502; nothing happened
    busy_rate: float = 0.01  # 503 with Retry-After
    internal_rate: float = 0.01  # 500
    dropped_before_rate: float = 0.01  # the connection breaks and nothing happened
    dropped_after_rate: float = 0.02  # the request took effect and its answer is lost
    html_after_rate: float = 0.01  # the request took effect and a gateway answers 502
    dated_pause_rate: float = 0.3  # a Retry-After is a date, by a clock of the service's own
    clock_skew_s: float = 300.0  # which is so far from ours
    answer_takes_s: float = 0.0
    slow_rate: float = 0.02  # and then max_slow_s
    max_slow_s: float = 2.0

    # Creates
    create_takes_s: float = 1.0  # until provisioned
    max_create_extra_s: float = 3.0
    sync_failure_rate: float = 0.03  # refused at once: no capacity; sometimes with a network card left behind
    late_failure_rate: float = 0.05  # accepted, failed later
    shell_less_failure_rate: float = 0.3  # of the late failures: no machine remains, its card and disks do
    wrapped_failure_rate: float = 0.3  # of the late failures: the real code stands among the details
    flap_rate: float = 0.05  # it was there and Succeeded, and counts as Failed some time later although it works
    max_flap_s: float = 10.0
    conflict_rate: float = 0.02  # 409 AnotherOperationInProgress
    suffixed_card_rate: float = 0.5  # a network card is not called as it was asked for
    no_capacity: frozenset[str] = frozenset()  # sizes of which there is none: SkuNotAvailable
    no_capacity_in_zone: Mapping[str, str] = field(default_factory=dict)  # zone → size: ZonalAllocationFailed
    spot_price: float = 0.02  # a maximum price below it is refused

    # Deletes
    max_delete_s: float = 4.0
    delete_conflict_rate: float = 0.05  # a second delete answers 409 "marked for deletion" instead of 202
    stuck_delete_rate: float = 0.03  # accepted, and it takes so much longer that one could think that it never ends
    stuck_delete_s: float = 45.0
    orphan_rate: float = 0.1  # a card or disk of a deleted machine stays behind, whatever its deleteOption
    card_locked_rate: float = 0.05
    card_reserved_s: float = 180.0

    # Lists
    page_size: int = 50
    list_lag_s: float = 2.0  # a list may show the cloud as it was so long ago
    max_untagged_s: float = 5.0  # a list shows a new machine without its tags
    card_lag_s: float = 1.0  # the lists of cards and disks lag by themselves
    expired_page_rate: float = 0.03  # a nextLink answers 410
    repeated_page_rate: float = 0.03  # a page repeats the end of the one before
    circular_page_rate: float = 0.01  # a nextLink that leads to the same page again, once
    sku_page_size: int = 8
    price_page_size: int = 10
    price_limit_rate: float = 0.05  # the page of prices answers 429

    # Machines
    boot_s: float = 2.0
    max_boot_extra_s: float = 3.0
    retry_after_s: int = 2  # the pace that an accepted create or delete wishes for

    @classmethod
    def kind(cls, **changes: Any) -> Knobs:
        """Prompt, honest and willing, with the real limits; ``changes`` on top."""
        quiet = {name: 0.0 for name in cls.__slots__ if name.endswith("_rate") or name in _WAITS}
        return replace(cls(), **{**quiet, **changes})


_WAITS = (
    "answer_takes_s",
    "create_takes_s",
    "max_create_extra_s",
    "max_delete_s",
    "list_lag_s",
    "max_untagged_s",
    "card_lag_s",
    "boot_s",
    "max_boot_extra_s",
)
