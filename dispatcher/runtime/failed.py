"""The event that ends an act which could not be done: for each kind of action one, so that nothing waits for ever.

``sent`` tells whether it may have taken effect all the same.
"""

from __future__ import annotations

from dispatcher.core import messages as m
from dispatcher.core.model import QueueWrite


def failure_of(action: m.Action, began: float, text: str, *, sent: bool) -> list[m.Event]:
    """The event that ends an act which could not be done. ``sent``: it may have taken effect."""
    queue = m.QueueFailure(text=text)
    cloud = m.CloudFailure(text=text, outcome_unknown=sent)
    match action:
        case m.PollQueue():
            return [m.QueuePollFailed(began_s=began, failure=queue)]
        case m.ReadContainers(uuids=uuids):
            return [m.ContainersReadFailed(asked=uuids, failure=queue)]
        case m.LockContainer(uuid=uuid):
            return [m.ContainerWriteFailed(uuid=uuid, write=QueueWrite.LOCK, failure=queue)]
        case m.UnlockContainer(uuid=uuid):
            return [m.ContainerWriteFailed(uuid=uuid, write=QueueWrite.UNLOCK, failure=queue)]
        case m.CancelContainer(uuid=uuid):
            return [m.ContainerWriteFailed(uuid=uuid, write=QueueWrite.CANCEL, failure=queue)]
        case m.ListInstances():
            return [m.ListFailed(began_s=began, failure=cloud)]
        case m.CreateInstance(name=name):
            return [m.CreateFailed(name=name, failure=cloud)]
        case m.PollCreate(name=name):
            return [m.CreatePolled(name=name, done=False)]
        case m.DestroyInstance(name=name):
            return [m.DestroyFailed(name=name, failure=cloud)]
        case m.SaveTags(name=name):
            return [m.TagsFailed(name=name, failure=cloud)]
        case m.ReadCatalogue(part=part):
            return [m.CatalogueFailed(part=part, failure=m.CloudFailure(text=text))]
        case m.DeleteLeftover(id=leftover_id):
            return [m.LeftoverFailed(id=leftover_id, failure=cloud)]
    return _instance_failure(action, began, text, sent=sent)


def _instance_failure(action: m.Action, began: float, text: str, *, sent: bool) -> list[m.Event]:
    match action:
        case m.ProbeInstance(name=name):
            report = m.ProbeReport(reached=False, problem=m.ProbeProblem.COMMAND, error=text)
            return [m.Probed(name=name, began_s=began, report=report)]
        case m.RemoveInstance():
            return []
        case m.StartContainer(uuid=uuid, instance=name):
            outcome = m.StartOutcome.UNKNOWN if sent else m.StartOutcome.NOT_SENT
            return [m.StartEnded(name=name, uuid=uuid, outcome=outcome, error=text)]
        case m.KillProcess(name=name, uuid=uuid):
            return [m.KillEnded(name=name, uuid=uuid, gone=False, error=text, answered=False)]
        case m.FetchOutput(name=name, uuid=uuid):
            return [m.OutputFetched(name=name, uuid=uuid, began_s=began)]
    raise TypeError(f"{type(action).__name__} is not performed")
