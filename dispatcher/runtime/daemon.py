"""The wiring: settings in, a running dispatcher out. The only room that knows both the crank and the edge.

``build`` makes everything and starts nothing; ``start`` starts the threads, ``stop`` ends them in the order in which work
flows: first no more plans, then the running calls end, then the lock is let go.
"""

from __future__ import annotations

import logging
import secrets
import string
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from dispatcher.config import Config, known_secrets, reloaded, waits_for_start
from dispatcher.core import cadence, lifecycle, spending
from dispatcher.core import messages as m
from dispatcher.core.model import State
from dispatcher.core.transitions import outputs
from dispatcher.core.verdict import Factor
from dispatcher.edge.arvados import ArvadosQueue
from dispatcher.edge.cloud import Cloud, open_driver
from dispatcher.edge.events import Events, EventService
from dispatcher.edge.http import Endpoint
from dispatcher.edge.instances import InstanceAccess, SSHInstances, connect_instances
from dispatcher.edge.leader import FileLeader, Leader, PostgresLeader
from dispatcher.edge.runner import Runner
from dispatcher.edge.runner_config import RunnerAccess
from dispatcher.edge.ssh.keys import load_private_key, public_key_line
from dispatcher.runtime import audit, troubles
from dispatcher.runtime.clock_watch import ClockWatch
from dispatcher.runtime.declared import with_driver
from dispatcher.runtime.deliver import Delivery
from dispatcher.runtime.garbage import spare_garbage_collection
from dispatcher.runtime.hints import HintFile, Keeper, state_folder_problem
from dispatcher.runtime.history import History
from dispatcher.runtime.loop import Loop
from dispatcher.runtime.loops import loops
from dispatcher.runtime.metrics.collector import Metrics, Surroundings
from dispatcher.runtime.outlook import Outlooks
from dispatcher.runtime.overruns import Overruns, believable_late
from dispatcher.runtime.perform import Perform, Ports, failure_of
from dispatcher.runtime.pools import WITH_EFFECT, Lanes
from dispatcher.runtime.ports import Clock
from dispatcher.runtime.scrub import Scrub
from dispatcher.runtime.status import StatusLine, standing
from dispatcher.runtime.store import Store
from dispatcher.runtime.story import Story, Teller
from dispatcher.runtime.times import rfc3339
from dispatcher.runtime.view import Explained, LiveView

NAME_CHARACTERS = string.ascii_lowercase + string.digits
OVERRUN_LOOK_S = 1.0
FIND_OUT_LOOK_S = 0.02
REFUSED_AGAIN_S = 10.0  # from one question whether our token is taken to the next
STOP_RESERVE_S = 3.0  # of the time for a stop, so much is kept for what comes after the last act

log = logging.getLogger(__name__)


class SystemClock:
    """The host's clocks. ``wall`` and ``utc`` are for display and tags alone."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def utc(self) -> str:
        return rfc3339(time.time())


# ------------------------------------------------------------------------------------------------------------------ wiring


def open_cloud(config: Config, clock: Clock) -> Cloud:
    """The configured driver behind its adapter. Raises UnusableDriver."""
    settings = config.driver_settings(logging.getLogger(f"drivers.{config.driver.name}"))
    return open_driver(config.driver.name, settings, wall=clock.wall)


def queue_of(config: Config) -> ArvadosQueue:
    """The client of this configuration's API. Makes no call."""
    endpoint = Endpoint(
        url=config.api.url,
        token=config.api.token,
        ca_file=config.api.certificate_file or None,
        insecure=config.api.insecure,
        timeout_s=config.settings.timeout_api_request_s,
    )
    return ArvadosQueue(endpoint)


def access_of(config: Config) -> InstanceAccess:
    """How this configuration's instances are reached, and what runs there."""
    settings, runner = config.settings, config.runner
    buffers = settings.local_keep_blob_buffers_per_vcpu
    return InstanceAccess(
        private_key=config.access.private_key,
        ssh_port=config.access.ssh_port,
        thread_per_connection=config.access.thread_per_connection,
        cluster_id=config.cluster_id,
        boot_probe_command=settings.boot_probe_command,
        runner=Runner(
            command=runner.command,
            runtime_engine=runner.engine,
            broken_node_hook=runner.broken_node_hook,
            arguments=runner.arguments,
        ),
        secrets=known_secrets(config),
        runner_access=RunnerAccess(
            api_host=config.api.host,
            api_token=config.api.token,
            api_insecure=config.api.insecure,
            system_root_token=config.api.token,
            keep_buffers_per_vcpu=buffers,
            cluster_config=config.cluster if buffers > 0 else None,
            spot_check=config.driver.name == "ec2",
        ),
        deploy_binary=runner.binary or "",
        deploy_directory=runner.directory,
        timeout_connect_s=settings.timeout_ssh_connect_s,
        timeout_command_s=settings.timeout_ssh_command_s,
        timeout_start_s=settings.timeout_ssh_start_s,
    )


def build(config: Config, *, reread: Callable[[], Config] | None = None) -> Daemon:
    """A daemon that is ready to be started. ``reread`` reads the files again for a reload.

    Raises ``UnusableDriver`` (a driver's parameter), ``ValueError`` (a key, a port, the runner's file) or ``ClaimError``.
    """
    clock = SystemClock()
    cloud = open_cloud(config, clock)
    return Daemon(config, clock, cloud, queue_of(config), reread)


def draw_name(set_id: str) -> Callable[[], tuple[str, str]]:
    """Where fresh names and secrets of instances come from."""

    def draw() -> tuple[str, str]:
        suffix = "".join(secrets.choice(NAME_CHARACTERS) for _ in range(15))
        return f"compute-{set_id}-{suffix}", secrets.token_hex(20)

    return draw


class Daemon:
    """The running dispatcher: what the web views and what the server starts and stops."""

    def __init__(
        self, config: Config, clock: Clock, cloud: Cloud, queue: ArvadosQueue, reread: Callable[[], Config] | None
    ) -> None:
        self.config, self.clock = config, clock
        self.story = Story(clock)
        self._cloud, self._queue, self._reread = cloud, queue, reread
        self._teller = Teller(self.story, clock)
        self.metrics = Metrics(clock)
        self._stop, self._let_go = threading.Event(), threading.Event()
        self.store = Store(
            State(settings=with_driver(config.settings, cloud)), clock.monotonic, listener=self._hear
        )
        access = replace(access_of(config), notices=cloud.notices())
        self._instances: SSHInstances = connect_instances(
            access, on_connection_lost=self._connection_lost, on_hint=self._probe_hinted
        )
        self.perform = Perform(self._ports(), self.store.snapshot, self.metrics.acts)
        self._overruns = Overruns(clock.monotonic, self._limit_of)
        self._delivery = Delivery(self.store.post, clock.monotonic)
        self._lanes = Lanes(self._act, self.store.snapshot)
        draw = draw_name(config.settings.instance_set_id)
        self._loops = [Loop(spec, self.store, clock, self._lanes.dispatch, self.metrics.passed) for spec in loops(draw)]
        self._keeper = Keeper(HintFile(config.state.folder), self.store.snapshot, self.store.post, clock)
        self._history = History(self.store.snapshot, clock.monotonic, self.metrics.boots)
        self._outlooks = Outlooks(self.store.snapshot, clock.monotonic, self._troubles)
        self._leader = self._make_leader()
        self._threads: list[threading.Thread] = []
        self._refused_files = ""  # why the last reload changed nothing
        self._need_start = ""  # what a reload found changed and could not apply

    def _ports(self) -> Ports:
        config = self.config
        return Ports(
            queue=self._queue,
            cloud=self._cloud,
            instances=self._instances,
            clock=self.clock,
            public_key=public_key_line(load_private_key(config.access.private_key)),
            vouches_host_keys=self._cloud.capabilities.host_keys,
            scrub=Scrub(known_secrets(config)),
            proves_to_lead=lambda: self._leader.proves_to_lead(),
        )

    def _make_leader(self) -> Leader:
        options = {"on_gained": self._gained, "on_lost": self._lost, "stop": self._let_go}
        if self.config.postgresql is not None:
            start_s = self.config.settings.timeout_ssh_start_s
            return PostgresLeader(self.config.postgresql.parameters, start_timeout_s=start_s, **options)
        return FileLeader(self.config.state.lock_file, **options)

    def _hear(self, before: State, after: State, message: m.Event | m.Action) -> None:
        """The store's listener, under its lock: both only take note."""
        self.metrics.recorder.hear(before, after, message)
        self._teller.hear(before, after, message)

    # -- acts

    def _act(self, action: m.Action, term: int) -> None:
        ticket = self._overruns.enter(action)
        events = self.perform.execute(action, term)
        if not self._overruns.leave(ticket):
            events = [event for event in events if believable_late(event)]
        self._delivery.deliver(action, events)

    def _limit_of(self, action: m.Action) -> float:
        settings = self.store.snapshot().settings
        if isinstance(action, m.PollQueue):
            return 40 * settings.timeout_api_request_s  # many pages, each with its own deadline
        if isinstance(action, m.FetchOutput):
            return 2 * outputs.WAIT_S + settings.timeout_ssh_connect_s
        if isinstance(action, m.ProbeInstance | m.StartContainer | m.KillProcess | m.RemoveInstance):
            return 2 * (settings.timeout_ssh_connect_s + settings.timeout_ssh_start_s) + 300.0
        return max(settings.timeout_cloud_call_s, settings.timeout_api_request_s)

    def _watch_overruns(self) -> None:
        clock_watch = ClockWatch(self.clock, self.store.post)
        while not self._stop.wait(OVERRUN_LOOK_S):
            clock_watch.tick()
            for action, began_s in self._overruns.overdue():
                log.error("%s does not come back: it is given up, its outcome is not known", type(action).__name__)
                self._lanes.give_up(action)
                self._delivery.deliver(action, failure_of(action, began_s, "no answer within its time", sent=True))

    def _connection_lost(self, name: str) -> None:
        self.store.post(m.ConnectionLost(name=name))

    def _probe_hinted(self, name: str) -> None:
        self.store.post(m.ProbeHinted(name=name, ending=True))

    def _gained(self) -> None:
        self._keeper.gained()
        self.store.post(m.LeadershipGained(quiet_s=self._leader.quiet_s))

    def _lost(self, holder: str) -> None:
        self.store.post(m.LeadershipLost(holder=holder))

    def _lead(self) -> None:
        """Not with a token that the queue service refuses: whoever leads with a good one goes on. That it does not answer at
        all keeps nobody from leading, since instances want to be looked after."""
        told = False
        while not self._stop.is_set() and (refusal := self._refusal()):
            if not told:
                log.error("the queue service refuses our token (see SystemRootToken), so we do not lead: %s", refusal)
            told = True
            self._lost(f"not with a token that the queue service refuses: {refusal}")
            self._stop.wait(REFUSED_AGAIN_S)
        self._leader.run()

    def _refusal(self) -> str:
        try:
            self._queue.token_uuid()
        except m.QueueError as error:
            return error.failure.text if error.failure.status in (401, 403) else ""
        return ""

    # -- start, stop, reload

    def start(self) -> None:
        """Start all threads; return at once."""
        spare_garbage_collection()
        for loop in self._loops:
            self._thread(loop.spec.name, partial(loop.run, self._stop))
        status = StatusLine(self.store.snapshot, self.clock.monotonic)
        self._thread("story", lambda: self._teller.run(self._let_go, status.due))
        self._thread("metrics", lambda: self.metrics.recorder.run(self._let_go))
        self._thread("hints", lambda: self._keeper.run(self._stop))
        self._thread("history", lambda: self._history.run(self._stop))
        self._thread("outlook", lambda: self._outlooks.run(self._stop))
        self._thread("overruns", self._watch_overruns)
        self._thread("leader", self._lead)
        if self.config.api.events_url:
            self._thread("events", self._events().run)

    def find_out(self, patience_s: float) -> None:
        """Wait until the instances that were there before us have been asked what runs on them, at most for so long."""
        until_s = self.clock.monotonic() + patience_s
        while cadence.finds_out(self.store.snapshot()) and self.clock.monotonic() < until_s:
            self._stop.wait(FIND_OUT_LOOK_S)

    def _events(self) -> Events:
        api, post = self.config.api, self.store.post
        service = EventService(
            url=api.events_url, token=api.token, ca_file=api.certificate_file or None, insecure=api.insecure
        )
        return Events(
            service, stop=self._stop, hinted=lambda hint: post(m.QueueHinted(container=hint.container, ended=hint.ended)),
            flowing=lambda flowing: post(m.EventsFlowing(flowing=flowing)),
        )  # fmt: skip

    def _thread(self, name: str, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=body, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self, deadline_s: float) -> None:
        """No more plans, let the acts end that change something, let go of the lock; at most ``deadline_s`` seconds.

        What only asks, like a probe of an instance that hangs, is cut: nothing is lost with it."""
        until_s = time.monotonic() + deadline_s

        def left_s() -> float:
            return until_s - time.monotonic()

        self._stop.set()
        self.store.stop()
        self._lanes.close()
        if not self._lanes.join(lambda: left_s() - STOP_RESERVE_S, WITH_EFFECT):
            log.warning("stopping while calls are still under way: the next start finds out what became of them")
        self._instances.stop()
        self._lanes.join(lambda: left_s() - STOP_RESERVE_S / 2)
        self._keeper.tick()
        self._let_go.set()
        for thread in self._threads:
            thread.join(max(0.1, left_s()))
        self._queue.close()

    def reload(self) -> None:
        """Take what the files say now, as far as it may change while we run; what may not is named."""
        if self._reread is None:
            return
        try:
            fresh = self._reread()
        except ValueError as wrong:  # the files are a person's: what is wrong with them is no fault of ours
            self._refused_files = f"the files cannot be used, the settings in force stay: {wrong}"
            log.error("%s", self._refused_files)
            return
        self._refused_files = ""
        self.config, waiting = reloaded(self.config, fresh)
        self._need_start = waits_for_start(waiting)
        self.store.post(m.SettingsLoaded(settings=with_driver(self.config.settings, self._cloud)))
        log.info("settings reloaded")
        if self._need_start:
            log.warning("%s", self._need_start)

    # -- what the web views, and what the service manager is told

    def heartbeats(self) -> Mapping[str, float]:
        """Loop → seconds since its last sign of life."""
        now = self.clock.monotonic()
        return {loop.spec.name: now - loop.beat_s for loop in self._loops}

    def standing(self) -> str:
        """How everything stands, in one line."""
        return standing(self.store.snapshot(), self.heartbeats(), self.clock.monotonic())

    def view(self) -> LiveView:
        """What the web layer is handed."""
        return LiveView(
            snapshot=self.store.snapshot,
            post=self.store.post,
            clock=self.clock,
            story=self.story,
            ages_s=self.heartbeats,
            explain=Explained(self.clock.monotonic),
            trouble=self._trouble,
            metrics=self.metrics.registry(self.store.snapshot, self._surroundings),
            outlooks=self._outlooks,
            history=self._history,
            in_force=lambda: self.config.in_force,
            calls=self.metrics.acts.calls,
        )

    def _surroundings(self) -> Surroundings:
        """What a scrape asks of the process itself."""
        source = self.config.source
        return Surroundings(
            bugs={
                "perform": self.perform.bug_count,
                "delivery": self._delivery.bugs,
                "plan": self.store.planner_bugs,
                "loop": sum(loop.bugs for loop in self._loops),
            },
            waiting=self._lanes.waiting(),
            ages_s=self.heartbeats(),
            given_up=self._overruns.given_up,
            longest_change_s=self.store.longest_s,
            verdict=self._outlooks.newest().level_and_cause,
            troubles={what: bool(text) for what, text in self._worked_around().items()},
            audit_failures=sum(file.failures for file in audit.files()),
            config_sha256=source.sha256,
            config_written_s=source.written_s,
            config_loaded_s=source.loaded_s,
        )

    def _troubles(self) -> list[Factor]:
        """What a snapshot does not tell."""
        given_up = self._overruns.given_up
        return list(troubles.factors(self.heartbeats(), self._worked_around(), [*self._loop_bugs(), *self._bugs()], given_up))

    def _trouble(self) -> list[str]:
        """What stops nothing, and what somebody should know."""
        found = [*self._loop_bugs(), *self._bugs()]
        if self._overruns.given_up:
            found.append(f"{self._overruns.given_up} calls did not come back and were given up")
        if self.config.api.insecure:
            found.append("TLS.Insecure: the certificate of the API is not verified")
        found.append(lifecycle.alarm(self.store.snapshot(), self.clock.monotonic()))
        found.append(spending.alarm(self.store.snapshot(), self.clock.monotonic()))
        found += [*self._worked_around().values(), self._need_start]
        return [text for text in found if text]

    def _worked_around(self) -> dict[str, str]:
        """Trouble → what exactly, or nothing."""
        return {
            "audit log": "; ".join(file.problem for file in audit.files() if file.problem),
            "configuration": self._refused_files,
            "hints": self._keeper.problem,
            "state folder": state_folder_problem(self.config.state.folder),
        }

    def _loop_bugs(self) -> list[str]:
        return [f"loop {loop.spec.name}: {loop.bugs} bugs, the last: {loop.last_bug}" for loop in self._loops if loop.bugs]

    def _bugs(self) -> list[str]:
        """Of each room how many, and which was the last; what exactly happened stands in the log."""
        return [
            f"{count} bugs {doing}, the last: {last}"
            for count, doing, last in (
                (self.perform.bug_count, "while acting", self.perform.bugs[-1] if self.perform.bugs else ""),
                (self._delivery.bugs, "while taking in what happened", self._delivery.last_bug),
                (self.store.planner_bugs, "in plans", self.store.last_bug),
            )
            if count
        ]
