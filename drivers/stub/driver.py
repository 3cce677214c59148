"""The stub's driver: the contract of ``dispatcher.driver`` on top of a ``StubCloud``.

It translates and checks what it is asked; the cloud decides what becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dispatcher.driver import (
    Call,
    Capabilities,
    CloudError,
    Created,
    CreateRequest,
    DriverSettings,
    HostKey,
    Instance,
    InstanceType,
    Leftover,
    Listing,
    Presence,
    Price,
    TypeFacts,
)
from drivers.stub import catalogue, refusals
from drivers.stub.cloud import Owner, StubCloud
from drivers.stub.instance import StubInstance

TAG_CHARACTERS = 256  # Azure and EC2 refuse longer values


class StubDriver:
    """One driver opened on the cloud: it sees what carries its InstanceSetID."""

    def __init__(self, cloud: StubCloud, settings: DriverSettings) -> None:
        self.cloud = cloud
        self.owner = Owner(f"{settings.tag_prefix}InstanceSetID", settings.instance_set_id)
        self._secret_key = f"{settings.tag_prefix}InstanceSecret"
        self._lied = False
        knobs = cloud.knobs
        self.capabilities = Capabilities(
            create_is_idempotent=knobs.create_is_idempotent,
            list_lag_s=knobs.list_lag_s,
            poll_create=knobs.polls_creates,
            host_keys=knobs.offers_host_keys,
            delete_leftover=knobs.deletes_leftovers,
            leftover_age_s=knobs.leftover_age_s,
            quota_groups=True,
            usages=knobs.tells_usages,
            prices=knobs.tells_prices,
            prices_period_s=knobs.catalogue_period_s,
            type_facts=knobs.tells_types,
            types_period_s=knobs.catalogue_period_s,
        )

    # ---------------------------------------------------------------------------------------------------- the four calls

    def create(self, request: CreateRequest, call: Call) -> Created:
        knobs = self.cloud.knobs
        self._check_request(request)
        self.cloud.arrive("create", knobs.min_create_interval_s, call)
        in_time = self.cloud.take_time(knobs.create_takes_s, call)
        secret = request.tags.get(self._secret_key, "")
        secret = secret if secret in request.init_script else ""

        def act() -> Created:
            return self.cloud.make(request, self.owner, secret)

        self.cloud.pass_gate("create", call, act)
        call.limit = knobs.quota_instances
        call.usage = len(self.cloud.existing())
        return self.cloud.carry_out("create", knobs.create_error_rate, in_time, act)

    def _check_request(self, request: CreateRequest) -> None:
        mistakes = {
            "no name": not request.name,
            "tags lack our InstanceSetID": not self.owner.owns(request.tags),
            "init script does not begin with #!/bin/sh": not request.init_script.startswith("#!/bin/sh"),
            "values that are not text": not all(isinstance(text, str) for pair in request.tags.items() for text in pair),
        }
        for text in [text for text, made in mistakes.items() if made]:
            self.cloud.report_bug(f"create {request.name}: {text}")
        self._check_tags(f"create {request.name}", request.tags)

    def _check_tags(self, where: str, tags: Mapping[str, str]) -> None:
        """What clouds refuse: long values, and what cannot be printed."""
        for name, value in tags.items():
            if len(str(value)) > TAG_CHARACTERS or not str(value).isprintable():
                self.cloud.report_bug(f"{where}: the tag {name} is longer than {TAG_CHARACTERS} characters or not printable")

    def list(self, call: Call) -> Listing:
        knobs = self.cloud.knobs
        self.cloud.arrive("list", knobs.min_list_interval_s, call)
        if not self.cloud.take_time(knobs.list_takes_s, call):
            raise CloudError("list: no answer in time")
        return self.cloud.carry_out("list", knobs.list_error_rate, True, lambda: self._listing(call))

    def destroy(self, instance_id: str, call: Call) -> None:
        knobs = self.cloud.knobs
        self.cloud.arrive("destroy", knobs.min_destroy_interval_s, call)
        in_time = self.cloud.take_time(knobs.destroy_takes_s, call)

        def act() -> None:
            instance = self._find(instance_id, "destroy")
            if instance is not None:
                self.cloud.unmake(instance, self.owner)

        self.cloud.pass_gate("destroy", call, act)
        self.cloud.carry_out("destroy", knobs.destroy_error_rate, in_time, act)

    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        knobs = self.cloud.knobs
        self.cloud.arrive("set_tags", 0.0, call)
        in_time = self.cloud.take_time(knobs.set_tags_takes_s, call)
        if not self.owner.owns(tags):
            self.cloud.report_bug(f"set_tags {instance_id}: tags lack our InstanceSetID, the instance would be lost")
        self._check_tags(f"set_tags {instance_id}", tags)

        def act() -> None:
            instance = self._find(instance_id, "set_tags")
            if instance is None:
                raise CloudError(f"no instance {instance_id}")
            self.cloud.retag(instance, tags)

        self.cloud.carry_out("set_tags", knobs.set_tags_error_rate, in_time, act)

    def _find(self, instance_id: str, call_name: str) -> StubInstance | None:
        """Ours, or None when it is gone. To name somebody else's is a bug."""
        instance = self.cloud.instances.get(instance_id)
        if instance is None or not instance.exists(self.cloud.now()):
            return None
        if not self.owner.owns(instance.tags_at(self.cloud.now())):
            self.cloud.report_bug(f"{call_name} {instance_id}: not our instance")
            raise CloudError(f"{instance_id} is not ours")
        return instance

    # ------------------------------------------------------------------------------------------------------- what it shows

    def _listing(self, call: Call) -> Listing:
        """The cloud as some replica remembers it, at most ``list_lag_s`` old."""
        cloud = self.cloud
        as_of_s = cloud.now() - cloud.random.uniform(0, cloud.knobs.list_lag_s)
        shown = [self._shown(instance, as_of_s) for instance in cloud.instances.values() if instance.exists(as_of_s)]
        listing = Listing(
            instances=tuple(instance for instance in shown if self.owner.owns(instance.tags)),
            leftovers=self._leftovers() if call.leftovers else (),
            usages=refusals.usages(cloud, cloud.now()) if call.usages and self.capabilities.usages else (),
        )
        return self._spoil(listing)

    def _leftovers(self) -> tuple[Leftover, ...]:
        return tuple(leftover for owner, leftover in self.cloud.leftovers if owner == self.owner)

    def _shown(self, instance: StubInstance, as_of_s: float) -> Instance:
        tags_of_s = as_of_s - self.cloud.random.uniform(0, self.cloud.knobs.tags_lag_s)
        return Instance(
            id=instance.id,
            name=instance.name,
            provider_type=instance.type.provider_type,
            address=instance.address if instance.address_at_s <= as_of_s else None,
            user=instance.user,
            tags=dict(instance.tags_at(tags_of_s)),
            state=_presence(instance, as_of_s),
            failure=instance.failure if instance.failed_at_s <= as_of_s else None,
        )

    def _spoil(self, listing: Listing) -> Listing:
        """Leave some out: honestly (not complete), or with a lie."""
        cloud, knobs = self.cloud, self.cloud.knobs
        drawn = cloud.random.random()
        if drawn < knobs.partial_list_rate:
            cloud.faults["list: partial"] += 1
            return replace(listing, instances=self._some(listing.instances), complete=False)
        self._lied = drawn < knobs.partial_list_rate + knobs.lying_list_rate and not self._lied
        if not self._lied:
            return listing
        # What is being deleted is never lied about: one list without it is all that anybody can ask for.
        cloud.faults["list: lie"] += 1
        deleting = tuple(instance for instance in listing.instances if instance.state is Presence.DELETING)
        others = tuple(instance for instance in listing.instances if instance.state is not Presence.DELETING)
        return replace(listing, instances=(*deleting, *self._some(others)))

    def _some(self, instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
        kept_rate = self.cloud.random.random()
        return tuple(instance for instance in instances if self.cloud.random.random() < kept_rate)

    # ---------------------------------------------------------------------------------------------------------- and more

    def poll_create(self, operation: str, call: Call) -> bool | CloudError:
        """Done, still working, or how it failed."""
        self.cloud.arrive("poll_create", 0.0, call)
        return self.cloud.carry_out(
            "poll_create", self.cloud.knobs.poll_create_error_rate, True, lambda: self._operation_done(operation)
        )

    def _operation_done(self, operation: str) -> bool | CloudError:
        instance = self.cloud.instances.get(operation.removeprefix("create/"))
        now = self.cloud.now()
        if instance is None:
            raise CloudError(f"no operation {operation}")
        if instance.failure is not None and instance.failed_at_s <= now:
            return instance.failure
        return instance.failure is None and now >= instance.address_at_s

    def host_keys(self, instance_id: str) -> tuple[HostKey, ...]:
        """Known from the boot on."""
        instance = self.cloud.instances.get(instance_id)
        if instance is None or self.cloud.now() < instance.ssh_at_s:
            return ()
        return instance.host_keys

    def quota_group(self, instance_type: InstanceType) -> str:
        return refusals.quota_group(instance_type)

    def prices(self, types: Sequence[InstanceType], call: Call) -> tuple[Price, ...]:
        cloud = self.cloud
        cloud.arrive("prices", 0.0, call)
        return cloud.carry_out("prices", cloud.knobs.catalogue_error_rate, True, lambda: catalogue.prices(cloud, types))

    def type_facts(self, types: Sequence[InstanceType], call: Call) -> tuple[TypeFacts, ...]:
        cloud = self.cloud
        cloud.arrive("types", 0.0, call)
        return cloud.carry_out("types", cloud.knobs.catalogue_error_rate, True, lambda: catalogue.facts(cloud, types))

    def delete_leftover(self, leftover: Leftover, call: Call) -> None:
        """Gone already is success; what an instance still uses is refused, and to ask for it is a bug of the caller."""
        cloud = self.cloud
        cloud.arrive("delete_leftover", 0.0, call)
        rate = cloud.knobs.delete_leftover_error_rate
        rate = cloud.knobs.destroy_error_rate if rate is None else rate
        cloud.carry_out("delete_leftover", rate, True, lambda: cloud.discard(leftover, self.owner))


def _presence(instance: StubInstance, as_of_s: float) -> Presence:
    if instance.deleting_at_s <= as_of_s:
        return Presence.DELETING
    return Presence.FAILED if instance.failed_at_s <= as_of_s else Presence.PRESENT
