"""The demo itself: set up, ask for the work, look until it has ended, tell how it ended, and leave nothing behind.

Every step can be made again after any interruption; what was done already is found done.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from dispatcher.cli.demo import processes, workload
from dispatcher.cli.demo import services as parts
from dispatcher.cli.demo.folder import Folder, InUse, Lock
from dispatcher.cli.demo.news import news, table
from dispatcher.cli.demo.picture import Picture, problems
from dispatcher.cli.demo.screen import Sight, frame
from dispatcher.cli.demo.services import DISPATCHER, QUEUE, Services
from dispatcher.cli.demo.watch import Find, Watch
from dispatcher.cli.drivers import open_quietly
from dispatcher.cli.queue_client import NoQueue, QueueClient, embedded_queue
from dispatcher.cli.terminal import BOLD, DIM, GREEN, RED, Screen
from dispatcher.cli.words import money
from dispatcher.config import Config
from dispatcher.core.messages import QueueError
from dispatcher.frozen import dataclass

TICK_S = 0.4
TAKE_OVER_S = 4.0  # how long a killed dispatcher is left to another `make run`, before this one starts it again
MOST_RESTARTS = 20
GONE_TIMEOUT_S = 30.0  # for the last instances to be destroyed
CANCEL_AFTER_S = 1.0
NOTES = 50
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal asked us to end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


class TakenOver(Exception):
    """Another demo goes on with our folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    pieces: tuple[workload.Piece, ...]
    stay: bool = False
    submit_hint: str = "cloud-dispatcher submit"


def interruptible() -> None:
    def raise_it(number: int, _: Any) -> None:
        raise Interrupted(number)

    for number in ENDING_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
            signal.signal(number, raise_it)


def undisturbed() -> None:
    """From here on we end, and are not asked twice."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class Demo:
    """One call of the command. The lock is held by the caller's ``lock``."""

    def __init__(self, folder: Folder, lock: Lock, screen: Screen, options: Options) -> None:
        self._folder, self._lock, self._screen, self._options = folder, lock, screen, options
        self._reaper = processes.Reaper()
        self._services = Services(folder, self._reaper)
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._restarts = 0
        self._restart_at_s: float | None = None
        self._began_s = time.monotonic()
        self._find: Find = lambda queue: []
        self._watch: Watch | None = None
        self._queue: QueueClient
        self._config: Config

    def run(self) -> int:
        """The exit status. Nothing of ours is left when it returns, unless another demo has taken over."""
        try:
            status = self._play()
        except TakenOver as other:
            self._screen.say(str(other))
            return 1
        except Interrupted as interrupted:
            self._tell_interrupted(interrupted)
            status = 128 + interrupted.number
        except parts.DidNotStart as problem:
            self._screen.say(str(problem), RED)
            status = 1
        except OSError as problem:
            with contextlib.suppress(OSError):
                self._screen.say(f"this computer refuses: {problem}", RED)
            status = 1
        return self._end(status)

    # -------------------------------------------------------------------------------------------------------------- phases

    def _play(self) -> int:
        run = self._begin()
        self._until_ended(run)
        found = self._tell_end(run)
        workload.save(self._folder, replace(run, ended=True))
        status = 1 if found else 0
        if self._options.stay:
            self._stay_until_told()
        return status

    def _begin(self) -> workload.Run:
        known = workload.unfinished(self._folder)
        self._screen.say(f"{'Going on with' if known else 'Setting up'} the demo in {self._folder.path}")
        if known is None and not self._services.find(DISPATCHER):
            self._put_logs_aside()
        run = known or workload.new_run(self._folder, self._options.pieces)
        self._find = lambda queue: workload.requests_of(run, queue)
        self._connect()
        self._screen.say(self._page())
        self._ask_for(run)
        return run

    def _page(self) -> str:
        """Where the operator's page is, and where the token for it stands; a token itself is not put on a screen."""
        listen = self._config.listen
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        return f"The operator's page: http://{host}:{listen.port}/ (its token: ManagementToken in {self._folder.config})"

    def _put_logs_aside(self) -> None:
        for part in (QUEUE, DISPATCHER):
            with contextlib.suppress(FileNotFoundError):
                log = self._folder.log(part)
                log.replace(log.with_suffix(".old.log"))

    def _ask_for(self, run: workload.Run) -> None:
        while True:
            try:
                user = embedded_queue(self._folder.queue, "user")
                count = workload.submit(run, user)
                user.close()
                break
            except (QueueError, NoQueue):
                self._care()
                time.sleep(TICK_S)
        more = f", {len(run.pieces) - count} were there already" if count < len(run.pieces) else ""
        self._screen.say(f"{count} containers asked for{more}; Ctrl-C ends it")

    def _until_ended(self, run: workload.Run) -> None:
        while True:
            picture = self._tick()
            self._cancel_what_should_be(run, picture)
            if picture.queue_answers and picture.ended == len(run.pieces):
                return
            time.sleep(TICK_S)

    def _cancel_what_should_be(self, run: workload.Run, picture: Picture) -> None:
        wanted = {piece.name for piece in run.pieces if piece.ends == workload.CANCELLED}
        for job in picture.jobs:
            ran_s = job.now.ran_s(time.time())
            if job.name in wanted and job.wanted and job.now.state == "Running" and (ran_s or 0.0) > CANCEL_AFTER_S:
                with contextlib.suppress(QueueError):
                    self._queue.cancel(job.request)

    # ---------------------------------------------------------------------------------------------------------------- ticks

    def _tick(self) -> Picture:
        """Look after the services, look at everything, show it."""
        trouble = self._care()
        before, picture = self._look()
        for text in news(before, picture):
            self._note(text)
        elapsed_s = time.monotonic() - self._began_s
        self._screen.show(
            frame(
                Sight(
                    picture=picture,
                    now_s=time.time(),
                    elapsed_s=elapsed_s,
                    rows=self._screen.size()[1],
                    notes=tuple(self._notes),
                    trouble=trouble,
                    plain_letters=self._screen.plain_letters,
                )
            )
        )
        return picture

    def _look(self) -> tuple[Picture, Picture]:
        """What was seen the last time, and now."""
        assert self._watch is not None
        return self._watch.picture, self._watch.look()

    def _note(self, text: str) -> None:
        told = f"{time.monotonic() - self._began_s:5.1f} s  {text}"
        self._notes.append(told)
        if not self._screen.live:
            self._screen.say(told)

    def _care(self) -> str:
        """Start again what somebody killed. What is amiss right now, or nothing. Raises DidNotStart, TakenOver."""
        self._reaper.reap()
        if not self._services.is_alive(DISPATCHER):
            return self._without_dispatcher()
        if not self._services.is_alive(QUEUE):
            self._count_restart(QUEUE)
            self._note(f"the queue {self._services.how_it_ended(QUEUE)} and is started again")
            self._connect()
        return ""

    def _connect(self) -> None:
        """Both services are up when this returns. A queue that had to move to another port is found there."""
        self._config = self._services.ensure_dispatcher(self._services.ensure_queue())
        self._queue = embedded_queue(self._folder.queue, "admin")
        seen = self._watch.picture if self._watch is not None else Picture()
        self._watch = Watch(self._folder, self._config, self._queue, self._find, with_statuses=self._screen.live)
        self._watch.picture = seen

    def _without_dispatcher(self) -> str:
        """What runs on instances runs on meanwhile; whoever calls `make run` now goes on instead of us."""
        how = self._services.how_it_ended(DISPATCHER)
        if self._restart_at_s is None:
            self._count_restart(DISPATCHER)
            self._note(f"the dispatcher {how}: what it started runs on; it is started again in {TAKE_OVER_S:.0f} s")
            self._restart_at_s = time.monotonic() + TAKE_OVER_S
            self._lock.release()
        if time.monotonic() < self._restart_at_s:
            return f"the dispatcher {how}"
        try:
            self._lock.take_again()
        except InUse as other:
            raise TakenOver(f"another demo goes on with it (process {other.pid})") from other
        self._restart_at_s = None
        self._connect()
        self._note("the dispatcher is started again")
        return ""

    def _count_restart(self, part: str) -> None:
        self._restarts += 1
        if self._restarts > MOST_RESTARTS:
            raise parts.DidNotStart(self._services.obituary(part))

    # ----------------------------------------------------------------------------------------------------------------- ends

    def _tell_end(self, run: workload.Run) -> list[str]:
        """The table, and what is wrong. Waits for the last instances first."""
        left = self._wait_for_instances()
        _, picture = self._look()
        width, _ = self._screen.size()
        self._screen.clear()
        self._screen.say()
        heading, *rows = table(picture.jobs, width - 1, time.time())
        self._screen.say(heading, BOLD)
        for row in rows:
            self._screen.say(row)
        found = problems(run.pieces, picture) + [f"instance {name} is left" for name in left]
        self._screen.say()
        total = sum(len(job.tries) for job in picture.jobs)
        self._screen.say(f"{total} containers, {money(picture.cost)} in all, {time.monotonic() - self._began_s:.0f} s", BOLD)
        for problem in found:
            self._screen.say(f"wrong: {problem}", RED)
        if not found:
            self._screen.say("Every container ended as it should, and no instance is left.", GREEN)
        return found

    def _wait_for_instances(self) -> tuple[str, ...]:
        deadline_s = time.monotonic() + GONE_TIMEOUT_S
        cloud = open_quietly(self._config)
        while (left := parts.instances(cloud)) and time.monotonic() < deadline_s:
            self._tick()
            time.sleep(TICK_S)
        return left

    def _stay_until_told(self) -> None:
        """Here a signal is the ordinary end."""
        try:
            self._stay()
        except Interrupted:
            undisturbed()
            self._screen.say("ending everything")

    def _stay(self) -> None:
        """What others submit is told as it happens."""
        hint = f"{self._options.submit_hint} --wait -- sh -c 'echo hello; sleep 5'"
        self._screen.say()
        for text in (
            "Staying up. In another terminal:",
            f"  {hint}",
            self._page(),
            f"  configuration: {self._folder.config}",
            f"  outputs:       {self._folder.outputs}",
            "Ctrl-C ends everything.",
        ):
            self._screen.say(text)
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._find = lambda queue: queue.requests([["created_at", ">=", since]])
        self._watch = None
        self._connect()
        while True:
            self._care()
            for text in news(*self._look()):
                self._screen.say(f"{time.strftime('%H:%M:%S')}  {text}", DIM)
            time.sleep(TICK_S)

    def _tell_interrupted(self, interrupted: Interrupted) -> None:
        undisturbed()
        with contextlib.suppress(OSError):
            self._screen.clear()
            self._screen.say(f"{interrupted}: ending everything; what had not ended goes on at the next start")

    def _end(self, status: int) -> int:
        undisturbed()
        left = self._services.end_everything()
        if left:
            with contextlib.suppress(OSError):
                self._screen.say(f"wrong: these processes could not be ended: {sorted(left)}", RED)
        return status or (1 if left else 0)


def stop(folder: Folder, wait_s: float = 40.0) -> int:
    """End a running demo, and whatever an earlier one left behind. Returns how many processes could not be ended."""
    lock = Lock(folder)
    try:
        lock.take(0)
    except InUse as running:
        if running.pid:
            with contextlib.suppress(ProcessLookupError):
                processes.send(running.pid, signal.SIGTERM)
        lock.take(wait_s)
    left = Services(folder, processes.Reaper()).end_everything()
    lock.close()
    return len(left)


def path_of(given: str) -> Path:
    return Path(given).expanduser()
