"""The stub's driver behind the port of the cloud, and the judge of every destroy: a busy instance may go only for a cause that
the rules allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from dispatcher.core.failures import failure_of
from dispatcher.core.messages import CloudCallFailed, CloudFailure
from dispatcher.core.model import DestroyCause
from dispatcher.driver import Call, CloudError, Created, CreateRequest, HostKey, InstanceType, Leftover, Listing, Price, TypeFacts
from drivers.stub import StubCloud, StubDriver

from .queue import Violations

Answer = TypeVar("Answer")
EXCEPTIONS = (DestroyCause.OPERATOR, DestroyCause.UNRESPONSIVE, DestroyCause.UNKILLABLE, DestroyCause.BOOT_TIMEOUT)


class FakeCloud:
    """``CloudPort``. ``cause_of`` tells why the dispatcher destroys an instance, by its id."""

    def __init__(
        self, cloud: StubCloud, driver: StubDriver, violations: Violations,
        cause_of: Callable[[str], DestroyCause | None], limit: Callable[[], int],
    ) -> None:  # fmt: skip
        self.cloud, self.driver, self.violations = cloud, driver, violations
        self.cause_of, self.limit = cause_of, limit
        self.refusals: dict[str, Callable[[], CloudError]] = {}  # call (``*``: any) → what it is answered with

    def _ask(self, call: str, act: Callable[[], Answer]) -> Answer:
        try:
            if (refusal := self.refusals.get(call) or self.refusals.get("*")) is not None:
                raise refusal()
            return act()
        except CloudError as error:
            raise CloudCallFailed(failure_of(error, self.cloud.now)) from error
        except CloudCallFailed:
            raise
        except Exception as error:
            raise CloudCallFailed(CloudFailure(text=f"driver bug: {error}", outcome_unknown=True)) from error

    def create(self, request: CreateRequest, call: Call) -> Created:
        try:
            return self._ask("create", lambda: self.driver.create(request, call))
        finally:
            existing = len(self.cloud.existing())
            if existing > self.limit():
                self.violations.report(f"{existing} instances exist, and only {self.limit()} may")

    def poll_create(self, operation: str, call: Call) -> bool | CloudFailure:
        answer = self._ask("poll_create", lambda: self.driver.poll_create(operation, call))
        return failure_of(answer, self.cloud.now) if isinstance(answer, CloudError) else answer

    def list(self, call: Call) -> Listing:
        return self._ask("list", lambda: self.driver.list(call))

    def destroy(self, instance_id: str, call: Call) -> None:
        self.cloud.advance(self.cloud.now())
        instance = self.cloud.instances.get(instance_id)
        cause = self.cause_of(instance_id)
        if instance is not None and instance.has_work and cause not in EXCEPTIONS:
            working = [process.uuid for process in instance.processes.values() if process.alive]
            self.violations.report(f"{instance.name} is destroyed ({cause}) while {working} run there")
        self._ask("destroy", lambda: self.driver.destroy(instance_id, call))

    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        self._ask("set_tags", lambda: self.driver.set_tags(instance_id, tags, call))

    def delete_leftover(self, leftover: Leftover, call: Call) -> None:
        self._ask("delete_leftover", lambda: self.driver.delete_leftover(leftover, call))

    def host_keys(self, instance_id: str) -> tuple[HostKey, ...]:
        return self.driver.host_keys(instance_id)

    def prices(self, types: Sequence[InstanceType], call: Call) -> tuple[Price, ...]:
        return self._ask("prices", lambda: self.driver.prices(types, call))

    def type_facts(self, types: Sequence[InstanceType], call: Call) -> tuple[TypeFacts, ...]:
        return self._ask("type_facts", lambda: self.driver.type_facts(types, call))

    def quota_group(self, instance_type: InstanceType) -> str:
        return self.driver.quota_group(instance_type)
