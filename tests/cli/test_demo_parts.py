"""The parts of the demo that need no process: what counts as a good end, how it is shown, what is written, what is refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from dispatcher.cli.demo import processes, setup
from dispatcher.cli.demo.folder import Folder, InUse, Lock, Unusable, prepare
from dispatcher.cli.demo.news import news, table
from dispatcher.cli.demo.picture import Container, Instance, Job, Picture, problems, short_name
from dispatcher.cli.demo.screen import Sight, frame
from dispatcher.cli.demo.watch import Places, seconds, tidy
from dispatcher.cli.demo.workload import SAMPLE, BadWorkload, Piece, Run, new_run, read_workload, request_for, unfinished
from dispatcher.cli.terminal import Screen
from dispatcher.cli.words import duration
from dispatcher.config import load
from tests.cli.demo_world import command

DONE = Container(
    uuid="c1", state="Complete", exit_code=0, created_s=10.0, started_s=12.5, finished_s=14.0, instance="small-abcde"
)
LOST = Container(uuid="c0", state="Cancelled", reason="its instance was lost", created_s=5.0, started_s=6.0, finished_s=9.0)
REFUSED = Container(uuid="c2", state="Cancelled", reason="too large", created_s=1.0, finished_s=2.0)
QUEUED = Container(uuid="c3", created_s=1.0)


def job(*tries: Container, ended: bool = True, priority: int = 500, name: str = "a") -> Job:
    return Job(request=f"r-{name}", name=name, tries=tries, ended=ended, priority=priority)


def piece(ends: str = "complete", exit_code: int = 0) -> Piece:
    return Piece(name="a", command=("true",), ends=ends, exit_code=exit_code)


ENDS = [
    # (what was asked for, what became of it, what is wrong)
    (piece(), job(DONE), ""),
    (piece(), job(LOST, DONE), ""),
    (piece(exit_code=3), job(DONE), "exit code 0 instead of 3"),
    (piece(), job(DONE, ended=False), "has not ended: Complete"),
    (piece(), job(QUEUED), "has not ended: Queued"),
    (piece(), job(LOST), "ended Cancelled: its instance was lost"),
    (piece(), job(DONE, DONE), "ended more than once: Complete, Complete"),
    (piece("cancelled"), job(LOST, priority=0), ""),
    (piece("cancelled"), job(LOST), "was cancelled by itself: its instance was lost"),
    (piece("cancelled"), job(DONE, priority=0), "ended Complete and should have been cancelled"),
    (piece("refused"), job(REFUSED), ""),
    (piece("refused"), job(LOST), "was not refused with a reason"),
    (piece("refused"), None, "was never asked for"),
]


@pytest.mark.parametrize(("asked", "became", "wrong"), ENDS)
def test_what_counts_as_a_good_end(asked, became, wrong):
    """Each piece ends as it should, or it is said what is wrong."""
    picture = Picture(jobs=(became,) if became else ())
    assert problems([asked], picture) == ([f"a: {wrong}"] if wrong else [])


def test_the_table():
    """Each try has its row; waited is from asking to running; a long reason goes on below itself."""
    lines = table([job(LOST, DONE, name="one"), job(REFUSED, name="two")], 79, 100.0)
    assert [line.split() for line in lines] == [
        ["container", "state", "exit", "reason", "instance", "waited", "ran"],
        ["one", "Cancelled", "its", "instance", "was", "lost", "1.0", "s", "3.0", "s"],
        ["try", "2", "Complete", "0", "small-abcde", "2.5", "s", "1.5", "s"],
        ["two", "Cancelled", "too", "large", "1.0", "s"],
    ]
    narrow = table([job(LOST, name="one")], 70, 100.0)
    assert len(narrow) == 3
    assert max(map(len, narrow)) <= 70


def test_news():
    """What changed between two pictures, in the order of what matters."""
    before = Picture(jobs=(job(QUEUED, ended=False),), dispatcher_answers=True)
    running = Container(uuid="c3", state="Running", created_s=1.0, started_s=3.0, instance="small-abcde")
    instances = (Instance(name="small-abcde", state="booting"),)
    after = Picture(jobs=(job(running, ended=False),), instances=instances, dispatcher_answers=True)
    assert list(news(before, after)) == ["a runs on small-abcde", "instance small-abcde is booting"]
    assert list(news(after, after)) == []
    nowhere = Picture(jobs=(job(replace(running, instance=""), ended=False),), instances=instances, dispatcher_answers=True)
    assert list(news(before, nowhere)) == ["instance small-abcde is booting"]  # where it runs is told when it is known
    assert list(news(nowhere, after)) == ["a runs on small-abcde"]
    again = Picture(jobs=(job(LOST, Container(uuid="c4"), ended=False),), dispatcher_answers=True)
    told = ["a was cancelled: its instance was lost", "a is tried again", "instance small-abcde is gone"]
    assert list(news(after, again)) == told


def shown(sight: Sight) -> list[str]:
    return ["".join(span.text for span in line) for line in frame(sight)]


def many(count: int) -> Iterable[Job]:
    return (job(Container(uuid=f"u{number}"), ended=False, priority=number, name=f"job-{number}") for number in range(count))


@pytest.mark.parametrize("rows", [10, 24, 60])
def test_the_view_fits_the_terminal(rows):
    """However many wait, the view never scrolls; the most urgent are shown first."""
    notes = [f"note {number}" for number in range(99)]
    lines = shown(Sight(picture=Picture(jobs=tuple(many(30))), now_s=0.0, elapsed_s=1.0, rows=rows, notes=notes))
    assert len(lines) < max(rows, 15)  # where there are fewer rows, the screen shows the first of them
    assert [line.split()[0] for line in lines if "job-" in line] == ["job-29", "job-28", "job-27", "job-26"]
    assert "  and 26 more wait" in lines


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "live", "colour"),
    [({"TERM": "xterm"}, True, True), ({"TERM": "xterm", "NO_COLOR": "1"}, True, False), ({"TERM": "dumb"}, False, False)],
)
def test_what_a_terminal_can(environment, live, colour):
    """NO_COLOR is obeyed, and a terminal that cannot move its cursor gets plain lines."""
    out = Terminal()
    screen = Screen(out, environment)
    screen.show(frame(Sight(picture=Picture(jobs=(job(DONE),)), now_s=0.0, elapsed_s=1.0, rows=24)))
    screen.say("done", "32")
    assert screen.live is live
    assert ("\x1b[J" in out.getvalue()) is live
    assert ("\x1b[32m" in out.getvalue()) is colour


def test_durations_and_names():
    """Short, for people."""
    assert [duration(value) for value in (None, 0.04, 59.94, 61.0, 3600.0)] == ["", "0.0 s", "59.9 s", "1m01s", "60m00s"]
    assert short_name("compute-0a1b2c-x9k2p4w8q7", "small") == "small-x9k2p"
    assert seconds("2026-11-21T20:43:28.123456789Z") == seconds("2026-11-21T20:43:28.123456Z")
    assert seconds(None) is None
    assert tidy("a\x1b[31m\n  b") == "a [31m b"


def test_where_containers_were_started(tmp_path):
    """From the dispatcher's log, whole lines only; what is no JSON is passed over."""
    log = tmp_path / "dispatcher.log"
    line = '{"ContainerUUID": "u1", "InstanceName": "compute-1-abcdefg", "InstanceType": "small"}\n'
    log.write_text("starting ContainerUUID InstanceName\n" + line + line.replace("u1", "u2")[:40])
    places = Places(log)
    places.read()
    assert places.known == {"u1": "small-abcde"}
    with log.open("a") as file:
        file.write(line.replace("u1", "u2")[40:])
    places.read()
    assert places.known == {"u1": "small-abcde", "u2": "small-abcde"}


# --------------------------------------------------------------------------------------------------------------- workload


def test_the_sample():
    """About two dozen, of which one fails, one is cancelled and one is refused; every name once."""
    assert 20 <= len(SAMPLE) <= 28
    assert len({each.name for each in SAMPLE}) == len(SAMPLE)
    assert [each.ends for each in SAMPLE if each.ends != "complete"] == ["cancelled", "refused"]
    assert len([each for each in SAMPLE if each.exit_code]) == 1
    assert len({each.priority for each in SAMPLE}) > 5
    assert len({each.vcpus for each in SAMPLE}) > 2


def test_a_piece_is_found_again():
    """By its request's properties, and the retry of its container by the environment."""
    request = request_for(Run(id="run1", pieces=()), piece())
    assert request["properties"] == {"sample_run": "run1", "sample_name": "a"}
    assert request["environment"] == {"SAMPLE_RUN": "run1", "SAMPLE_NAME": "a"}
    assert request["use_existing"] is False


def test_an_unfinished_run_is_remembered(tmp_path):
    """With its pieces as they were; what another version wrote is begun anew."""
    folder = Folder(tmp_path)
    assert unfinished(folder) is None
    run = new_run(folder, SAMPLE)
    assert unfinished(folder) == run
    folder.workload.write_text('{"id": "x", "pieces": [{"name": "a", "command": [], "colour": "red"}]}')
    assert unfinished(folder) is None


BAD_WORKLOADS = [
    ("{}", "has to be a list of containers"),
    ("[{name: a}]", "entry 1: 'command'; a name and a command"),
    ("[{name: a, command: [x], colour: red}]", "entry 1: "),
    ("[{name: a, command: [x], ends: badly}]", "entry 1: ends: 'badly' is none of complete, cancelled, refused"),
    ("[{name: a, command: [x]}, {name: a, command: [y]}]", "each name once: a"),
    ("[", "while parsing"),
]


@pytest.mark.parametrize(("text", "words"), BAD_WORKLOADS)
def test_a_workload_that_is_none(tmp_path, text, words):
    """The file and the entry are named."""
    path = tmp_path / "workload.yml"
    path.write_text(text)
    with pytest.raises(BadWorkload) as wrong:
        read_workload(path)
    assert words in str(wrong.value)
    assert str(path) in str(wrong.value)


# ----------------------------------------------------------------------------------------------------- folder and set-up


def queue_of(folder: Folder) -> dict[str, str]:
    token = folder.path / "root.token"
    token.write_text("secretsecretsecret")
    host = "127.0.0.1:20001"
    urls = {"url": f"https://{host}", "events_url": f"wss://{host}/websocket"}
    return {**urls, "certificate": "/x/certificate.pem", "root_token_file": str(token)}


def test_the_configuration_can_be_used(tmp_path):
    """It is one that check-config finds nothing wrong with, private to its owner, and stays as it is while its facts hold."""
    folder = prepare(tmp_path / "data with a blank")
    queue = queue_of(folder)
    setup.ensure_key(folder)
    setup.configure(folder, queue)
    loaded = load(folder.config, folder.settings)
    assert loaded.problems == ()
    assert [each.path for each in loaded.warnings] == ["Clusters.zzzzz.PostgreSQL.Connection"]
    assert loaded.config.api.certificate_file == "/x/certificate.pem"
    assert loaded.config.listen.host == "127.0.0.1"
    assert {path.stat().st_mode & 0o077 for path in (folder.config, folder.private_key)} == {0}
    assert setup.is_current(folder, queue)
    assert not setup.is_current(folder, {**queue, "url": "https://127.0.0.1:20002"})
    assert not setup.is_current(Folder(tmp_path), queue)


def test_a_folder_that_cannot_be_used(tmp_path):
    """What is in the way, and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable, match="Not a directory; choose another one with --data"):
        prepare(tmp_path / "file" / "data")
    refused = command("demo", "--data", "/proc/data")
    assert (refused.returncode, refused.stderr.startswith("Error: the data folder /proc/data cannot be used")) == (1, True)


def test_only_one_at_a_time(tmp_path):
    """A lock that was let go can be taken again only if nobody else had it meanwhile."""
    folder = prepare(tmp_path)
    first, second = Lock(folder), Lock(folder)
    first.take()
    with pytest.raises(InUse, match=f"process {os.getpid()}"):
        second.take(0)
    first.release()
    first.take_again()
    first.release()
    folder.lock.write_text("1")
    with pytest.raises(InUse, match="process 1"):
        first.take_again()
    first.close()
    second.close()


def test_stopping_what_never_ran(tmp_path):
    """Is no mistake, and makes no folder."""
    assert command("demo", "--stop", "--data", str(tmp_path / "none")).returncode == 0
    assert not (tmp_path / "none").exists()


# -------------------------------------------------------------------------------------------------------------- processes


def test_processes_are_known_by_their_folder(tmp_path):
    """Also those that they started, also when these forgot everything; those of another folder are not ours."""
    mine, other = tmp_path / "mine", tmp_path / "mine-too"
    script = "import subprocess; subprocess.run(['env', '-i', 'sleep', '60'])"
    started = [_start(script, folder) for folder in (mine, other)]
    try:
        assert processes.wait_until(lambda: len(processes.of_folder(mine)) == 2, 20.0)
        assert started[0].pid in processes.of_folder(mine)
        assert processes.end_all(mine) == set()
        assert len(processes.of_folder(other)) == 2
    finally:
        processes.end_all(other)
        for process in started:
            process.wait()


def _start(script: str, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "CONTAINER_ROOT": str(folder / "root")}
    return subprocess.Popen([sys.executable, "-c", script], env=environment, start_new_session=True)
