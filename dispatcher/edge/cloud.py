"""The driver behind error translation: found by entry point, called, its answers checked, its errors turned into data.

A driver may be written by anybody. Whatever it answers or raises, nothing leaves here but values of the contract that belong to
our InstanceSetID, or ``CloudCallFailed``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from dispatcher.core.failures import MAX_TEXT, failure_of, is_number, tidy_text
from dispatcher.core.messages import CloudCallFailed, CloudFailure
from dispatcher.driver import (
    Call,
    Capabilities,
    CloudError,
    Created,
    CreateRequest,
    Driver,
    DriverSettings,
    HostKey,
    InstanceType,
    Leftover,
    Listing,
    Misconfigured,
    Notice,
    Price,
    TypeFacts,
)
from dispatcher.edge.cloud_answers import (
    BadAnswer,
    checked_capabilities,
    checked_created,
    checked_facts,
    checked_host_keys,
    checked_listing,
    checked_prices,
)
from dispatcher.edge.cloud_discovery import Entry, UnusableDriver, choose, find_entries, load
from dispatcher.edge.notices import Announced, Notices

Answer = TypeVar("Answer")

def open_driver(
    name: str,
    settings: DriverSettings,
    *,
    wall: Callable[[], float],
    entries: tuple[Entry, ...] | None = None,
) -> Cloud:
    """Load and open the driver called ``name`` (the ``Driver`` key); no other is loaded. ``wall``: Unix seconds, to translate
    dates that a cloud names. Raises UnusableDriver, whose text names the place and the mend."""
    entry = choose(name, find_entries() if entries is None else entries)
    try:
        driver = load(entry)(settings)
    except UnusableDriver:
        raise
    except Misconfigured as error:
        raise UnusableDriver(str(error), path=error.path) from error
    except Exception as error:
        settings.log.exception("driver %s (%s) failed to open", entry.name, entry.target)
        raise UnusableDriver(f"{type(error).__name__} in its open(); the log has the details") from error
    missing = [call for call in ("create", "list", "destroy", "set_tags") if not callable(getattr(driver, call, None))]
    if missing:
        raise UnusableDriver(f"{entry.target} made a driver without {', '.join(missing)}; every driver has the four calls")
    return Cloud(driver, settings, wall=wall)


class Cloud:
    """A ``CloudPort``. Safe for many threads as far as the driver is."""

    def __init__(self, driver: Driver, settings: DriverSettings, *, wall: Callable[[], float]) -> None:
        self._driver = driver
        self._wall = wall
        self._log = settings.log
        self._set_key = f"{settings.tag_prefix}InstanceSetID"
        self._set_id = settings.instance_set_id
        self._warned: set[str] = set()
        self.capabilities: Capabilities = checked_capabilities(driver, self._warn_once)

    # -------------------------------------------------------------------------------------------------------- the calls

    def create(self, request: CreateRequest, call: Call) -> Created:
        return self._ask("create", call, lambda: checked_created(self._driver.create(request, call)), has_effect=True)

    def list(self, call: Call) -> Listing:
        """What belongs to us; what cannot be understood is left out and makes the list incomplete."""
        listing = self._ask("list", call, lambda: checked_listing(self._driver.list(call), self._warn_once))
        ours = tuple(instance for instance in listing.instances if instance.tags.get(self._set_key) == self._set_id)
        return replace(listing, instances=ours)

    def destroy(self, instance_id: str, call: Call) -> None:
        self._ask("destroy", call, lambda: self._driver.destroy(instance_id, call), has_effect=True)

    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        self._ask("set_tags", call, lambda: self._driver.set_tags(instance_id, tags, call), has_effect=True)

    def poll_create(self, operation: str, call: Call) -> bool | CloudFailure:
        """Done, still working, or how it failed. A driver that declares no ``poll_create`` is done when it has accepted."""
        if not self.capabilities.poll_create:
            return True
        answer = self._ask("poll_create", call, lambda: self._optional("poll_create")(operation, call))
        return failure_of(answer, self._wall) if isinstance(answer, CloudError) else bool(answer)

    def host_keys(self, instance_id: str) -> tuple[HostKey, ...]:
        """The keys that the cloud vouches for; empty when it knows none (yet)."""
        if not self.capabilities.host_keys:
            return ()
        return self._ask("host_keys", None, lambda: checked_host_keys(self._optional("host_keys")(instance_id)))

    def delete_leftover(self, leftover: Leftover, call: Call) -> None:
        if self.capabilities.delete_leftover:
            self._ask("delete_leftover", call, lambda: self._optional("delete_leftover")(leftover, call), has_effect=True)

    def notices(self) -> Notices | None:
        """How instances are asked what they were told of their end; None when this cloud tells them nothing."""
        command = getattr(self._driver, "notice_command", None) if self.capabilities.notices else None
        if not isinstance(command, str) or not command or "\n" in command:
            return None
        return Notices(command=command, parse=self._parse_notice)

    def _parse_notice(self, said: str, name: str) -> str | Announced:
        """Never raises: a notice that cannot be read is none."""
        try:
            notice = self._ask("parse_notice", None, lambda: self._optional("parse_notice")(said, name))
        except CloudCallFailed as error:
            self._warn_once(f"a notice cannot be read: {error}")
            return ""
        if isinstance(notice, Notice) and isinstance(notice.text, str):
            ends_at = notice.ends_at
            in_s = ends_at - self._wall() if ends_at is not None and is_number(ends_at) else None
            return Announced(text=tidy_text(notice.text), ends_in_s=in_s)
        return tidy_text(notice) if isinstance(notice, str) else ""

    def prices(self, types: Sequence[InstanceType], call: Call) -> tuple[Price, ...]:
        """Of those that are asked about; none from a driver that declares no ``prices``."""
        if not self.capabilities.prices:
            return ()
        return self._ask("prices", call, lambda: checked_prices(self._optional("prices")(types, call), types))

    def type_facts(self, types: Sequence[InstanceType], call: Call) -> tuple[TypeFacts, ...]:
        """Likewise."""
        if not self.capabilities.type_facts:
            return ()
        return self._ask("type_facts", call, lambda: checked_facts(self._optional("type_facts")(types, call), types))

    def quota_group(self, instance_type: InstanceType) -> str:
        """The group whose quota this type counts against; all types share the group without a name when the driver has none.
        Never raises: where a quota bites is a hint."""
        if not self.capabilities.quota_groups:
            return ""
        try:
            group = self._ask("quota_group", None, lambda: self._optional("quota_group")(instance_type))
        except CloudCallFailed as error:
            self._warn_once(f"no quota group for {instance_type.name}: {error}")
            return ""
        return group if isinstance(group, str) else ""

    # ------------------------------------------------------------------------------------------------------------- helpers

    def _optional(self, method: str) -> Callable[..., object]:
        """A method beyond the four; ``checked_capabilities`` made sure that it is there."""
        found: Callable[..., object] = getattr(self._driver, method)
        return found

    def _ask(self, name: str, call: Call | None, act: Callable[[], Answer], *, has_effect: bool = False) -> Answer:
        """Do it; raises CloudCallFailed for whatever goes wrong."""
        try:
            return act()
        except CloudError as error:
            raise CloudCallFailed(failure_of(error, self._wall)) from error
        except BadAnswer as error:
            self._log.error("the driver answered %s badly: %s", name, error)
            text = tidy_text(f"{name}: bad answer of the driver: {error}")
            raise CloudCallFailed(CloudFailure(text=text, outcome_unknown=has_effect)) from error
        except Exception as error:
            self._log.exception("bug in the driver: %s raised %s", name, type(error).__name__)
            text = tidy_text(f"{name}: bug in the driver: {type(error).__name__}: {error}")
            raise CloudCallFailed(CloudFailure(text=text, outcome_unknown=has_effect)) from error
        finally:
            if call is not None:
                _tidy_report(call)

    def _warn_once(self, text: str) -> None:
        """A list comes every few seconds: the same complaint is written once."""
        if text not in self._warned and len(self._warned) < MAX_TEXT:
            self._warned.add(text)
            self._log.warning("driver: %s", text)



def _tidy_report(call: Call) -> None:
    """What a driver wrote into the call must be numbers before the core paces itself by them."""
    for name in ("calls_remaining", "retry_after_s", "poll_after_s", "limit", "usage"):
        if not is_number(getattr(call, name)):
            setattr(call, name, None)
