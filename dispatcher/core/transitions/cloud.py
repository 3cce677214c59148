"""What the cloud told us, and what we asked of it.

Absence is a proof, not a gap: only complete lists remove, and only after a destroy that was acknowledged, or twice in a row
without any sign of life, or three times when a list would remove a good part of the fleet at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from dispatcher.core import ending, hints, pacing, quotas, replacing, spending
from dispatcher.core.failures import kind_of
from dispatcher.core.messages import (
    CallReported,
    CloudFailure,
    CreateFailed,
    CreateInstance,
    CreatePolled,
    DestroyAccepted,
    DestroyFailed,
    DestroyInstance,
    InstanceCreated,
    InstancesListed,
    InstancesMissed,
    ListEnded,
    ListFailed,
    ListInstances,
    PollCreate,
    RemoveInstance,
    SaveTags,
    TagsFailed,
    TagsSaved,
)
from dispatcher.core.model import (
    Destroy,
    DestroyCause,
    HoldoffKind,
    IdleBehavior,
    Instance,
    Phase,
    State,
)
from dispatcher.core.notes import note_of, note_tags, tag_names
from dispatcher.core.settings import Settings
from dispatcher.core.transitions import leftovers, setbacks
from dispatcher.core.transitions.changes import put_instance, put_instances, remove_instance
from dispatcher.core.transitions.table import move
from dispatcher.core.values import replace
from dispatcher.driver import Instance as ListedInstance
from dispatcher.driver import Presence, Scope

LIST_SOON_S = 2.0
QUICK_RATE = 5.0  # calls a second that a site allows: with fewer, lists leave them to creates and destroys
LIST_FIRST_S = 0.3  # after a create was accepted: most clouds know the address at once
GUARD_WINDOW_S = 600.0
_NOTHING_MADE = (HoldoffKind.QUOTA, HoldoffKind.CAPACITY)  # sent again, only these say that the first call made nothing
WITHOUT_TYPE = "its instance type is no longer configured"


# ------------------------------------------------------------------------------------------------------------------- tags


def own_tags(instance: Instance, settings: Settings) -> dict[str, str]:
    """The tags that an instance must have: the site's, then ours, which win. Names as every Arvados dispatcher has them."""
    prefix = settings.tag_prefix
    return {
        **({f"{prefix}ImageID": instance.image} if instance.image else {}),
        **settings.resource_tags,
        f"{prefix}InstanceSetID": settings.instance_set_id,
        f"{prefix}InstanceType": instance.type,
        f"{prefix}IdleBehavior": instance.idle_behavior.value,
        f"{prefix}InstanceSecret": instance.secret,
        **note_tags(instance, prefix),
    }


def all_tags(instance: Instance, settings: Settings) -> dict[str, str]:
    """What is sent, which replaces all there is: what others put there stays, a note that holds no more goes."""
    notes = tag_names(settings.tag_prefix)
    kept = {name: value for name, value in instance.tags.items() if name not in notes}
    return {**kept, **own_tags(instance, settings)}


def tags_differ(instance: Instance, settings: Settings) -> bool:
    """Whether the cloud's copy of the operator's choice, or of the note about it, is not the one we hold."""
    prefix, tags = settings.tag_prefix, instance.tags
    if tags.get(f"{prefix}IdleBehavior", IdleBehavior.RUN.value) != instance.idle_behavior.value:
        return True
    wanted = note_tags(instance, prefix)
    return any(tags.get(name) != wanted.get(name) for name in tag_names(prefix))


def _behavior(tags: Mapping[str, str], prefix: str) -> IdleBehavior:
    try:
        return IdleBehavior(tags.get(f"{prefix}IdleBehavior", ""))
    except ValueError:
        return IdleBehavior.RUN


# ----------------------------------------------------------------------------------------------------------------- create


def begin_create(state: State, action: CreateInstance, now: float) -> State:
    """The intent is recorded before the call: from here on it counts in every limit. The same name again settles an
    unknown outcome."""
    state = pacing.take(state, "create", now)
    known = state.instances.get(action.name)
    if known is not None:
        return put_instance(state, replace(known, creating=True, create_changed_s=now))
    chosen = state.settings.instance_types[action.instance_type]
    instance = Instance(
        name=action.name, type=chosen.name, provider_type=chosen.provider_type, phase=Phase.CREATING,
        secret=action.secret, creating=True, create_changed_s=now, phase_since_s=now, appeared_s=now,
        image=action.image, price=chosen.price, paid_since_s=now,
    )  # fmt: skip
    return put_instance(state, replace(instance, tags=own_tags(instance, state.settings)))


def lists_quickly(settings: Settings) -> bool:
    rate = settings.max_cloud_ops_per_second
    return rate is None or rate >= QUICK_RATE


def created(state: State, event: InstanceCreated, now: float) -> State:
    state = pacing.forgive(state, "create", _type_of(state, event.name), now)
    instance = state.instances.get(event.name)
    if instance is None:
        return state
    state = replace(state, cloud=replace(state.cloud, accepted=state.cloud.accepted.set(instance.type, now)))
    instance = replace(
        instance, id=event.id, operation=event.operation, operation_polled_s=now, poll_after_s=event.poll_after_s,
        creating=False, create_unknown=False, create_changed_s=now, misses=(),
    )  # fmt: skip
    if instance.phase is Phase.CREATING:
        instance = move(instance, Phase.BOOTING, now)
    first_s = LIST_FIRST_S if lists_quickly(state.settings) else LIST_SOON_S
    return _list_by(put_instance(state, instance), now + first_s)


def create_failed(state: State, event: CreateFailed, now: float) -> State:
    type_name = _type_of(state, event.name)
    if event.failure.outcome_unknown:
        state = setbacks.unanswered(state, event.name, event.failure.text, now)
    else:
        state = pacing.hold_off(state, "create", _reach(state, event), type_name, now)
    instance = state.instances.get(event.name)
    if instance is None:
        return state
    if event.accepted:
        return put_instance(state, replace(instance, failure=event.failure.text, operation=None, polling_create=False))
    instance = replace(instance, creating=False, create_changed_s=now)
    if instance.id is not None:  # a list has shown it meanwhile: it exists, whatever this answer says
        return put_instance(state, move(instance, Phase.BOOTING, now) if instance.phase is Phase.CREATING else instance)
    if event.failure.outcome_unknown or (instance.create_unknown and event.failure.kind not in _NOTHING_MADE):
        return _list_by(put_instance(state, replace(instance, create_unknown=True, misses=())), now + LIST_SOON_S)
    return remove_instance(state, event.name, f"create failed: {event.failure.text}", now)


def _reach(state: State, event: CreateFailed) -> CloudFailure:
    """How far a refusal reaches. A quota that is too small for an instance although there is no other waits for nothing that
    we could give back: then it is about this type, and does not keep smaller ones from being asked for."""
    alone = not any(name != event.name for name in state.instances)
    if alone and event.failure.kind is HoldoffKind.QUOTA and event.failure.scope is Scope.EVERYTHING:
        return replace(event.failure, scope=Scope.TYPE)
    return event.failure


def begin_poll_create(state: State, action: PollCreate, now: float) -> State:
    state = pacing.take(state, "poll_create", now)
    return put_instance(state, replace(state.instances[action.name], polling_create=True))


def create_polled(state: State, event: CreatePolled, now: float) -> State:
    """How it stands. When the question failed nothing is known of the create: it is asked again."""
    if event.failure is not None:
        state = pacing.hold_off_all(state, "poll_create", event.failure, now)
    else:
        state = pacing.forgive(state, "poll_create", None, now)
    instance = state.instances.get(event.name)
    if instance is None:
        return state
    operation = None if event.done else instance.operation
    instance = replace(instance, polling_create=False, operation=operation)
    return put_instance(state, replace(instance, operation_polled_s=now, poll_after_s=event.poll_after_s))


def _type_of(state: State, name: str) -> str | None:
    instance = state.instances.get(name)
    return instance.type if instance is not None else None


# ------------------------------------------------------------------------------------------------------------------- list


def _list_by(state: State, at_s: float) -> State:
    return replace(state, cloud=replace(state.cloud, list_due_s=min(state.cloud.list_due_s, at_s)))


def begin_list(state: State, action: ListInstances, now: float) -> State:
    state = pacing.take(state, "list", now)
    return replace(state, cloud=replace(state.cloud, listing=True, list_due_s=math.inf))


def match(state: State, listed: ListedInstance) -> Instance | None:
    """The instance of ours that a listed one is: by the name that we chose, and the cloud's id must not contradict it."""
    return state.instances.get(listed.name)


def _adopt(state: State, listed: ListedInstance, began_s: float, until_s: float | None, now: float) -> Instance:
    """An instance of ours that this process did not create."""
    prefix = state.settings.tag_prefix
    type_name, behavior = listed.tags.get(f"{prefix}InstanceType", ""), _behavior(listed.tags, prefix)
    hint = hints.of_instance(state.hints, listed.name, listed.id)
    began_boot_s = hints.boot_began_s(hint, state.settings.timeout_booting_s, now)
    last_price = hints.price(hint, spending.dearest(state))
    instance = Instance(
        name=listed.name, id=listed.id, type=type_name, provider_type=listed.provider_type, phase=Phase.UNKNOWN,
        secret=listed.tags.get(f"{prefix}InstanceSecret", ""), idle_behavior=behavior,
        operator=note_of(listed.tags, prefix, behavior, until_s), phase_since_s=began_boot_s, appeared_s=now, listed_s=began_s,
        ever_listed=True, probe_due=True,
        condemned="" if type_name in state.settings.instance_types else WITHOUT_TYPE,
        image=listed.tags.get(f"{prefix}ImageID", ""), price=spending.price_of(state, type_name, last_price),
        paid_since_s=hints.paid_since_s(state.hints, hint, now), last_container=hint.last_container if hint is not None else "",
    )  # fmt: skip
    if listed.state is Presence.DELETING:
        reason = "the cloud was already deleting it when it was found"
        done = Destroy(cause=DestroyCause.OPERATOR, reason=reason, since_s=now, sent_s=now, attempts=1, acknowledged_s=now)
        instance = replace(instance, phase=Phase.SHUTDOWN, destroy=done)
    return instance


def _refresh(instance: Instance, listed: ListedInstance, began_s: float) -> Instance:
    """What a list says of an instance that we know. The address is always the newest; tags only if we did not just write."""
    if began_s < instance.listed_s:
        return instance
    fresh_tags = not instance.saving_tags and began_s > instance.tags_changed_s and instance.tags != listed.tags
    return replace(
        instance, id=listed.id, address=listed.address, user=listed.user, provider_type=listed.provider_type,
        created_at=listed.created_at, listed_s=began_s, ever_listed=True, misses=(),
        deleting=listed.state is Presence.DELETING, host_keys=instance.host_keys or listed.host_keys,
        probe_due=instance.probe_due or listed.address != instance.address,
        tags=dict(listed.tags) if fresh_tags else instance.tags,
    )  # fmt: skip


def _appeared(instance: Instance, now: float) -> Instance:
    """An instance whose create was lost on the way is there after all."""
    if instance.phase is Phase.CREATING and instance.create_unknown and not instance.creating:
        return move(replace(instance, create_unknown=False), Phase.BOOTING, now)
    return instance


def _failed(state: State, instance: Instance, listed: ListedInstance, now: float) -> State:
    """Accepted, and failed later: the list says so."""
    text = listed.failure.text if listed.failure is not None else "the cloud lists it as failed"
    scope = listed.failure.scope if listed.failure is not None else Scope.REQUEST
    state = put_instance(state, replace(instance, failure=text, operation=None))
    kind = kind_of(listed.failure) if listed.failure is not None else HoldoffKind.ERROR
    failure = CloudFailure(text=text, scope=scope, kind=kind)
    return pacing.hold_off(state, "create", failure, instance.type, now)


def listed(state: State, event: InstancesListed, now: float) -> State:
    changed: list[Instance] = []
    failed: list[ListedInstance] = []
    for one in event.instances:
        known = match(state, one)
        instance = _adopt(state, one, event.began_s, event.until_s.get(one.name), now) if known is None else known
        instance = _appeared(_refresh(instance, one, event.began_s), now)
        changed.append(instance)
        if one.state is Presence.FAILED and not instance.failure:
            failed.append(one)
    state = put_instances(state, changed)
    for one in failed:
        state = _failed(state, state.instances[one.name], one, now)
    return state


def _missed(instance: Instance, began_s: float, lag_s: float) -> bool:
    """Whether a list that began then, without this instance, says anything about it: no act and no sign of life is newer than
    what the list may still show, which is the cloud as it was up to ``list_lag_s`` before."""
    if instance.creating or (instance.id is None and not instance.create_unknown):
        return False
    return began_s - lag_s > max(instance.create_changed_s, instance.reached_s) and began_s > instance.listed_s


def _misses(instance: Instance, began_s: float) -> tuple[float, ...]:
    """The first one tells for how long it has been missing, however long the driver's lag; the last ones how often."""
    return (*instance.misses[:1], *instance.misses[1:][-2:], began_s)


def missed(state: State, event: InstancesMissed, now: float) -> State:
    """A complete list was without these: whether that proves anything is judged when they are to be removed."""
    held = [i for name in event.names if (i := state.instances.get(name)) is not None]
    missing = [i for i in held if _missed(i, event.began_s, state.settings.list_lag_s)]
    state = put_instances(
        state, [replace(i, misses=_misses(i, event.began_s), probe_due=True) for i in missing]
    )
    return _list_by(state, now + max(LIST_SOON_S, state.settings.list_lag_s)) if event.names else state


def list_ended(state: State, event: ListEnded, now: float) -> State:
    state = pacing.forgive(state, "list", None, now)
    cloud = replace(state.cloud, listing=False, list_ended_s=now, failures=0, error="", failing_since_s=math.inf)
    if event.complete:
        first_s = cloud.first_listed_s if cloud.first_listed_s >= state.leadership.since_s else event.began_s
        again = event.began_s > first_s and event.began_s >= first_s + state.settings.list_lag_s
        cloud = replace(
            cloud, listed_s=event.began_s, first_listed_s=first_s, confirmed_s=event.began_s if again else cloud.confirmed_s,
            partial_since_s=math.inf,
        )  # fmt: skip
    else:
        cloud = replace(cloud, partial_since_s=min(now, cloud.partial_since_s))
    state = replace(state, cloud=cloud)
    told = event.complete and event.leftovers is not None
    state = leftovers.listed(state, event.leftovers or (), event.began_s) if told else state
    return state if event.usages is None else quotas.told(state, event.usages, now)


def begin_remove(state: State, action: RemoveInstance, now: float) -> State:
    instance = state.instances[action.name]
    offer = state.instance_type(instance.type)
    why = ending.why_gone(instance, preemptible=offer is not None and offer.preemptible, now=now)
    if instance.ending:  # what was kept for those who ran there is idle from now on: they come back within seconds
        kept = [state.instances[name] for name in replacing.kept(state, now)]
        state = put_instances(state, [replace(i, busy_s=now) for i in kept])
    return remove_instance(setbacks.gone(state, instance, why, now), action.name, why, now)


def list_failed(state: State, event: ListFailed, now: float) -> State:
    failures = state.cloud.failures + 1
    cloud = replace(
        state.cloud, listing=False, list_ended_s=now, failures=failures, error=event.failure.text, error_kind=event.failure.kind,
        failing_since_s=min(now, state.cloud.failing_since_s),
    )  # fmt: skip
    longest_s = min(pacing.LONGEST_S, state.settings.sync_interval_s)  # a cloud that is well again is not to wait for ten minutes
    return pacing.hold_off(replace(state, cloud=cloud), "list", event.failure, None, now, longest_s)


# ---------------------------------------------------------------------------------------------------------------- destroy


def begin_destroy(state: State, action: DestroyInstance, now: float) -> State:
    state = pacing.take(state, "destroy", now)
    instance = state.instances[action.name]
    destroy = instance.destroy
    if destroy is None:
        destroy = Destroy(cause=action.cause, reason=action.reason, since_s=now)
        state = setbacks.destroyed(_count_destroy(state, action, now), instance, action, now)
    elif action.cause is DestroyCause.OPERATOR:
        destroy = replace(destroy, cause=action.cause, reason=action.reason)
    destroy = replace(destroy, sent_s=now, in_flight=True, attempts=destroy.attempts + 1)
    return put_instance(state, replace(move(instance, Phase.SHUTDOWN, now), destroy=destroy))


def _count_destroy(state: State, action: DestroyInstance, now: float) -> State:
    if not action.cause.guarded:
        return state
    recent = tuple(at for at in state.cloud.guarded_destroys if at > now - GUARD_WINDOW_S)
    return replace(state, cloud=replace(state.cloud, guarded_destroys=(*recent, now)))


def destroy_accepted(state: State, event: DestroyAccepted, now: float) -> State:
    instance = state.instances.get(event.name)
    if instance is None or instance.destroy is None:
        return state
    first = instance.destroy.acknowledged_s is None
    destroy = replace(instance.destroy, in_flight=False, acknowledged_s=now, error="")
    state = pacing.forgive(state, "destroy", None, now)
    if first:  # many clouds give the quota back now, and not when it is gone from their list
        state = pacing.relieve(state, instance.type, now)
    return _list_by(put_instance(state, replace(instance, destroy=destroy)), now + LIST_SOON_S)


def destroy_failed(state: State, event: DestroyFailed, now: float) -> State:
    state = pacing.hold_off_all(state, "destroy", event.failure, now)
    instance = state.instances.get(event.name)
    if instance is None or instance.destroy is None:
        return state
    destroy = replace(instance.destroy, in_flight=False, error=event.failure.text)
    return _list_by(put_instance(state, replace(instance, destroy=destroy)), now + LIST_SOON_S)


# ------------------------------------------------------------------------------------------------------------------- tags


def begin_save_tags(state: State, action: SaveTags, now: float) -> State:
    state = pacing.take(state, "set_tags", now)
    instance = state.instances[action.name]
    return put_instance(state, replace(instance, saving_tags=True, tags_changed_s=now))


def tags_saved(state: State, event: TagsSaved, now: float) -> State:
    instance = state.instances.get(event.name)
    if instance is None:
        return state
    state = pacing.forgive(state, "set_tags", None, now)
    saved = replace(instance, saving_tags=False, tags=dict(event.tags), tags_changed_s=now, tags_failed=0)
    return put_instance(state, saved)


def tags_failed(state: State, event: TagsFailed, now: float) -> State:
    state = pacing.hold_off_all(state, "set_tags", event.failure, now)
    instance = state.instances.get(event.name)
    if instance is None:
        return state
    failed = replace(instance, saving_tags=False, tags_changed_s=now, tags_failed=instance.tags_failed + 1)
    return put_instance(state, failed)


def call_reported(state: State, event: CallReported, now: float) -> State:
    return pacing.reported(state, event, now)
