"""Two defects of the reference implementation's probes that must not exist here: 12.7 (late) and 12.8 (without an end)."""

from __future__ import annotations

from dispatcher.core import messages as m
from dispatcher.core.model import ContainerState, Phase
from dispatcher.driver import InstanceType
from drivers.stub import StubKnobs
from tests.simulation.worlds import Town, offer, settings, wants

RUNNING = ContainerState.RUNNING


def town(*offers: InstanceType, knobs: StubKnobs | None = None, **changes: float) -> Town:
    made = Town(settings(*offers, **changes), knobs=knobs)
    made.start_dispatcher()
    return made


def probes_of(here: Town, name: str) -> list[float]:
    return [at_s for at_s, action in here.journal.actions() if isinstance(action, m.ProbeInstance) and action.name == name]


def test_12_7_the_first_probe_goes_out_with_the_address():
    """However long the interval: a list is due soon while an instance has no address, and the probe follows it at once."""
    here = town(probe_interval_s=60.0, sync_interval_s=60.0, knobs=StubKnobs.kind(address_s=7.0, boot_s=8.0))
    here.submit(wants())
    assert here.run(60.0, until=lambda: any(i.address for i in here.held()))
    known_s, name = here.clock.now_s, here.held()[0].name
    assert here.run(5.0, until=lambda: bool(probes_of(here, name)))
    assert probes_of(here, name)[0] - known_s < 0.1
    here.until_ready()
    assert here.clock.now_s < 20.0


def test_12_7_after_a_restart_everybody_is_probed_at_once():
    """Nobody waits for a whole interval to hear of the instances that were found."""
    here = town(offer("a1", 1), probe_interval_s=60.0)
    uuids = [here.submit(wants(), length_s=500.0) for _ in range(10)]
    here.until_states(uuids, RUNNING)
    names = {i.name for i in here.held()}
    here.restart()
    began_s = here.clock.now_s
    assert here.run(30.0, until=lambda: len(here.held(Phase.READY)) == len(names))
    assert here.clock.now_s - began_s < 2.0


def test_12_8_instances_that_hang_free_their_slots_and_hold_up_nobody():
    """A dozen accept the connection and never answer: each is asked again and again, and the healthy one as often as ever."""
    here = town(offer("a1", 1), timeout_probe_s=900.0, timeout_idle_s=900.0, max_instances=20)
    healthy, *others = [here.submit(wants(), length_s=5000.0, attempts=1) for _ in range(13)]
    here.until_states([healthy, *others], RUNNING)
    good = here.container(healthy).instance
    ill = [here.container(uuid).instance for uuid in others]
    for name in ill:
        here.machine(name).hung_at_s = here.clock.now_s
    began_s = here.clock.now_s
    here.run(400.0)
    since = {name: [at_s for at_s in probes_of(here, name) if at_s > began_s] for name in [good, *ill]}
    gaps = [later - at_s for at_s, later in zip(since[good], since[good][1:], strict=False)]
    assert max(gaps) < 11.0
    assert min(len(since[name]) for name in ill) >= 4


def test_12_8_an_instance_that_hangs_is_given_up():
    """Its probes end, so the clock of its silence runs: it is destroyed when TimeoutProbe is over, and not before."""
    here = town(offer("a1", 1), timeout_probe_s=120.0, timeout_idle_s=900.0)
    hung, healthy = [here.submit(wants(), length_s=5000.0, attempts=1) for _ in range(2)]
    here.until_states([hung, healthy], RUNNING)
    bad = here.container(hung).instance
    here.machine(bad).hung_at_s = here.clock.now_s
    began_s = here.clock.now_s
    assert here.run(600.0, until=lambda: bool(here.journal.of(m.DestroyInstance)))
    (destroyed,) = here.journal.of(m.DestroyInstance)
    assert (destroyed.name, destroyed.cause.value) == (bad, "unresponsive")
    assert 119.0 < here.clock.now_s - began_s < 240.0
