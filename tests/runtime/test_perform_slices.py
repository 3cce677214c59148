"""Big answers become small events, so that none holds the lock for long; nothing of the answer is lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dispatcher.core.messages import ContainersRead, QueueIdentified, ReadContainers
from dispatcher.core.model import ContainerRecord, ContainerState, Leadership, State
from dispatcher.runtime.perform import SLICE, Perform, Ports
from dispatcher.runtime.ports import Records

ASKED = tuple(f"zzzzz-dz642-{number:015d}" for number in range(2 * SLICE + 1))
FOUND, REJECTED = ASKED[1:-1], ASKED[0]


class StillClock:
    def monotonic(self) -> float:
        return 5.0


class OneAnswer:
    """A queue service that finds all but the last, cannot say the first, and adds one that nobody asked for."""

    def token_uuid(self) -> str:
        return "token"

    def read(self, uuids: Sequence[str]) -> Records:
        records = [ContainerRecord(uuid=uuid, state=ContainerState.QUEUED, priority=1) for uuid in (*FOUND, "a stranger")]
        return Records(records=tuple(records), rejected={REJECTED: "not understood"})


def test_the_answer_to_a_read_comes_in_slices() -> None:
    """Each uuid that was asked for is in one event, with its record, its rejection or its absence."""
    ports = Ports(queue=OneAnswer(), cloud=None, instances=None, clock=StillClock())  # type: ignore[arg-type]
    state = replace(State(), leadership=Leadership(leading=True, term=1))
    first, *events = Perform(ports, lambda: state).execute(ReadContainers(uuids=ASKED), 1)
    assert isinstance(first, QueueIdentified)
    assert [type(event) for event in events] == [ContainersRead] * 3
    parts = [event for event in events if isinstance(event, ContainersRead)]
    assert [uuid for part in parts for uuid in part.asked] == list(ASKED)
    assert [record.uuid for part in parts for record in part.records] == list(FOUND)
    assert [dict(part.rejected) for part in parts] == [{REJECTED: "not understood"}, {}, {}]
    assert {part.began_s for part in parts} == {5.0}
