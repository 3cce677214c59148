"""Every change of State: ``observe`` takes in what happened, ``begin`` records what is about to be done.

Both are total and pure: an event or action that no longer fits its subject changes nothing, an illegal one raises and changes
nothing either. The rest of the core only reads State.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dispatcher.core import messages as m
from dispatcher.core import spending
from dispatcher.core.model import State
from dispatcher.core.transitions import catalogue, cloud, hinted, leftovers, operators, outputs, polls, processes, queue, setbacks
from dispatcher.core.transitions.legal import legal
from dispatcher.core.transitions.outages import watched
from dispatcher.core.transitions.table import IllegalTransition
from dispatcher.core.values import replace

__all__ = ["IllegalTransition", "Refused", "begin", "legal", "observe"]

Change = Callable[[State, Any, float], State]

OBSERVERS: dict[type[m.Event], Change] = {
    m.QueueIdentified: queue.identified,
    m.ContainersObserved: queue.observed,
    m.ContainersAbsent: queue.absent,
    m.QueuePolled: watched(polls.polled),
    m.QueuePollFailed: watched(polls.poll_failed),
    m.QueueHinted: polls.hinted,
    m.EventsFlowing: polls.events_flowing,
    m.ContainersRead: queue.read,
    m.ContainersReadFailed: queue.read_failed,
    m.ContainerWritten: queue.written,
    m.ContainerWriteFailed: queue.write_failed,
    m.InstanceCreated: cloud.created,
    m.CreateFailed: cloud.create_failed,
    m.CreatePolled: cloud.create_polled,
    m.InstancesListed: cloud.listed,
    m.InstancesMissed: cloud.missed,
    m.ListEnded: watched(cloud.list_ended),
    m.ListFailed: watched(cloud.list_failed),
    m.DestroyAccepted: cloud.destroy_accepted,
    m.DestroyFailed: cloud.destroy_failed,
    m.TagsSaved: cloud.tags_saved,
    m.TagsFailed: cloud.tags_failed,
    m.CallReported: cloud.call_reported,
    m.LeftoverDeleted: leftovers.deleted,
    m.LeftoverFailed: leftovers.failed,
    m.CatalogueRead: operators.catalogue_told,
    m.CatalogueFailed: catalogue.failed,
    m.Probed: processes.probed,
    m.StartEnded: processes.start_ended,
    m.KillEnded: processes.kill_ended,
    m.OutputFetched: outputs.fetched,
    m.ProbeHinted: processes.probe_hinted,
    m.ConnectionLost: processes.connection_lost,
    m.IdleBehaviorSet: operators.idle_behavior_set,
    m.InstanceKillRequested: operators.instance_kill_requested,
    m.ContainerKillRequested: operators.container_kill_requested,
    m.LeadershipGained: operators.leadership_gained,
    m.LeadershipLost: operators.leadership_lost,
    m.SettingsLoaded: operators.settings_loaded,
    m.DayTold: spending.day_told,
    m.ClockJumped: setbacks.clock_jumped,
    m.HintsRead: hinted.hints_read,
}

INTENTS: dict[type[m.Action], Change] = {
    m.PollQueue: polls.begin_poll,
    m.ReadContainers: queue.begin_read,
    m.LockContainer: queue.begin_lock,
    m.UnlockContainer: queue.begin_unlock,
    m.CancelContainer: queue.begin_cancel,
    m.BindContainer: queue.begin_bind,
    m.ReleaseContainer: queue.begin_release,
    m.ForgetContainer: queue.begin_forget,
    m.CreateInstance: cloud.begin_create,
    m.PollCreate: cloud.begin_poll_create,
    m.ListInstances: cloud.begin_list,
    m.DestroyInstance: cloud.begin_destroy,
    m.RemoveInstance: cloud.begin_remove,
    m.SaveTags: cloud.begin_save_tags,
    m.DeleteLeftover: leftovers.begin_delete,
    m.ReadCatalogue: catalogue.begin_read,
    m.CondemnInstance: operators.begin_condemn,
    m.ExpireIdleBehavior: operators.begin_expire,
    m.ProbeInstance: processes.begin_probe,
    m.StartContainer: processes.begin_start,
    m.KillProcess: processes.begin_kill,
    m.FetchOutput: outputs.begin_fetch,
}

WITHOUT_EFFECT = (m.BindContainer, m.ReleaseContainer, m.ForgetContainer, m.CondemnInstance, m.ExpireIdleBehavior)
"""Actions that are done once they are recorded: nothing is to be performed."""


class Refused(Exception):
    """``begin`` was asked for something that is not legal; ``reason`` says why."""

    def __init__(self, action: m.Action, reason: str) -> None:
        super().__init__(f"{action}: {reason}")
        self.action, self.reason = action, reason


def observe(state: State, event: m.Event, now: float) -> State:
    """The State after this event; the same object when it says nothing new."""
    after = OBSERVERS[type(event)](state, event, now)
    return state if after is state else replace(after, version=state.version + 1)


def begin(state: State, action: m.Action, now: float) -> State:
    """The State in which this action is on its way. Raises ``Refused`` when it is not legal."""
    reason = legal(state, action, now)
    if reason is not None:
        raise Refused(action, reason)
    return replace(INTENTS[type(action)](state, action, now), version=state.version + 1)
