#!/usr/bin/env python3
"""Runs one container on an instance, with the command line of crunch-run: ``--list``, ``--detach``, ``--kill N``.

This file stands alone (standard library only), since the dispatcher copies it to instances. One lock file for each container
tells who runs: it is held by the process that supervises the command, from before the start is reported until that process ends.

What it is not: there are no images and no Keep. The command runs as an ordinary process of the instance; its mounts are folders
and files below a folder of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import fcntl
import http.client
import json
import os
import random
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

LOCK_FOLDER_VARIABLE, DATA_FOLDER_VARIABLE = "CRUNCH_RUN_LOCK_DIR", "CRUNCH_RUN_DATA_DIR"
LOCK_FOLDER_DEFAULT, DATA_FOLDER_DEFAULT = "/var/lock", "/var/lib/crunch-run"
JOURNAL_VARIABLE, JOURNAL_DEFAULT = "CRUNCH_RUN_JOURNAL", "/run/systemd/journal/stdout"  # the socket that a journal listens on
JOURNAL_COMMAND = ("systemd-cat", "--identifier=crunch-run")
BROKEN_FILE, PRICES_FILE, ALL_LOCK_FILE = "crunch-run-broken", "crunch-run-prices.json", "crunch-run-all.lock"
OUTPUT_LONGEST_S, OUTPUTS_GREATEST_BYTES = 86400.0, 100 << 20  # of ended containers, where there is no journal
UUID = re.compile(r"[0-9a-z]{5}-dz642-[0-9a-z]{15}")

KILL_PATIENCE_S, KILL_POLL_S = 1.0, 0.01
STOP_GRACE_S = 10.0
CALL_TIMEOUT_S = 30.0
RETRY_FIRST_S, RETRY_GREATEST_S, RETRY_LONGEST_S = 0.2, 10.0, 7 * 86400.0
ANSWER_GREATEST_BYTES = 64 << 20
STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
HANDLED = STOP_SIGNALS | {signal.SIGCHLD, signal.SIGUSR2}


class Stopped(Exception):
    """Somebody asked us to stop."""


class Unsuitable(Exception):
    """This container cannot run here; the text says why."""


class Refused(Exception):
    """The API said no. ``status`` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(f"{status}: {text}")


# ------------------------------------------------------------------------------------------------------ list, kill, detach


def lock_path(folder: Path, uuid: str) -> Path:
    return folder / f"crunch-run-{uuid}.lock"


def output_path(folder: Path, uuid: str) -> Path:
    """Where a runner writes what it has to say, when the instance has no journal."""
    return folder / f"crunch-run-{uuid}.log"


def take(file: IO[Any]) -> bool:
    """Lock an open file, if nobody else holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        return False
    return True


def list_containers(folder: Path) -> list[str]:
    """One line for each container that runs here, ``stale`` behind those whose process is gone, and ``broken``."""
    lines = [_line_of(folder, path) for path in sorted(folder.glob("crunch-run-?????-dz642-*.lock"))]
    broken = ["broken"] if (folder / BROKEN_FILE).exists() else []
    return [line for line in lines if line] + broken


def _line_of(folder: Path, path: Path) -> str | None:
    """What one lock file says: nothing while it is empty, since its runner is being started."""
    try:
        with path.open() as file:
            owner = _owner(file.read())
            if owner is None:
                return None
            if not take(file):
                return str(owner["UUID"]) if _send(owner["PID"], signal.SIGUSR2) else f"{owner['UUID']} stale"
    except FileNotFoundError:
        return None
    _remove_stale(folder, path)
    return None


def _owner(text: str) -> dict[str, Any] | None:
    try:
        owner = json.loads(text)
    except ValueError:
        return None
    return owner if isinstance(owner, dict) and "UUID" in owner and "PID" in owner else None


def _send(pid: int, number: int) -> bool:
    """Send a signal. Returns whether there was a process to send it to."""
    try:
        os.kill(int(pid), number)
    except ProcessLookupError:
        return False
    return True


def _remove_stale(folder: Path, path: Path) -> None:
    """Remove a lock file that nobody holds. The lock of the folder keeps a start of the same container out meanwhile."""
    with (folder / ALL_LOCK_FILE).open("a") as folder_lock:
        fcntl.flock(folder_lock, fcntl.LOCK_EX)
        try:
            with path.open() as file:
                if take(file):
                    path.unlink()
        except FileNotFoundError:
            pass


def save_prices(folder: Path, text: str) -> None:
    """Keep the prices that the dispatcher sends along with a list, for the cost of what runs here."""
    if text.strip():
        json.loads(text)
        temporary = folder / f"{PRICES_FILE}.{os.getpid()}"
        temporary.write_text(text)
        temporary.replace(folder / PRICES_FILE)


def kill(folder: Path, uuid: str, number: int) -> bool:
    """Send a signal to a container's runner once. Returns whether the runner is gone within the time limit."""
    deadline = time.monotonic() + KILL_PATIENCE_S
    path = lock_path(folder, uuid)
    if _is_free(path):
        return True
    owner = _owner(path.read_text())
    if owner is None or not _send(owner["PID"], number):
        return False
    while not _is_free(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(KILL_POLL_S)
    return True


def _is_free(path: Path) -> bool:
    """Whether no process holds this lock file, or it does not exist."""
    try:
        with path.open() as file:
            return take(file)
    except FileNotFoundError:
        return True


def detach(options: argparse.Namespace) -> None:
    """Start the supervising process in a session of its own, with the lock in its hand, and report it."""
    folder = options.lock_dir
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ALL_LOCK_FILE).open("a") as folder_lock:
        fcntl.flock(folder_lock, fcntl.LOCK_EX)
        with lock_path(folder, options.uuid).open("a+") as file:
            if not take(file):
                raise SystemExit(f"{options.uuid} is already running here: {file.name} is locked")
            file.truncate(0)
            report = json.dumps({"UUID": options.uuid, "PID": _start_supervisor(options, file)}) + "\n"
            file.write(report)
            file.flush()
            sys.stdout.write(report)
            sys.stdout.flush()


def remove_old_outputs(folder: Path, now: float) -> None:
    """Of containers that have ended: what is older than a day, and the oldest beyond the limit on all together."""
    files = [(path.stat(), path) for path in folder.glob("crunch-run-?????-dz642-*.log")]
    kept = 0
    for status, path in sorted(files, key=lambda each: -each[0].st_mtime):
        kept += status.st_size
        too_much = kept > OUTPUTS_GREATEST_BYTES or now - status.st_mtime > OUTPUT_LONGEST_S
        if too_much and _is_free(path.with_suffix(".lock")):
            path.unlink(missing_ok=True)


def has_journal() -> bool:
    listens = os.path.exists(os.environ.get(JOURNAL_VARIABLE, JOURNAL_DEFAULT))
    return listens and shutil.which(JOURNAL_COMMAND[0]) is not None


def _start_supervisor(options: argparse.Namespace, lock: IO[Any]) -> int:
    """The pid of a child of ourselves that has inherited the lock and been told the configuration."""
    home = container_folder(options)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # a list may ask for it before it listens
    command = [sys.executable, "-I", os.path.abspath(__file__), "--no-detach", "--stdin-config"]
    command += [f"--lock-dir={options.lock_dir}", f"--data-dir={options.data_dir}", f"--ca-certs={options.ca_certs}"]
    command += [f"--stop-grace={options.stop_grace}", options.uuid]
    journal = JOURNAL_COMMAND if has_journal() else ()
    remove_old_outputs(options.lock_dir, time.time())
    with Path(os.devnull if journal else output_path(options.lock_dir, options.uuid)).open("ab") as log:
        child = subprocess.Popen(
            [*journal, *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            pass_fds=[lock.fileno()],
            start_new_session=True,
        )
    with child.stdin as pipe:  # type: ignore[union-attr]
        pipe.write(sys.stdin.buffer.read() if options.stdin_config else b"{}")
    child.returncode = 0  # the supervisor outlives us; nobody waits for it here
    return child.pid


def container_folder(options: argparse.Namespace) -> Path:
    return Path(options.data_dir) / "containers" / str(options.uuid)


# ------------------------------------------------------------------------------------------------------------------- API


def wait(timeout_s: float) -> signal.Signals | None:
    """Sleep until one of our signals arrives, or the time is over. Raises Stopped when we are to stop."""
    information = signal.sigtimedwait(HANDLED, max(timeout_s, 0.0))
    if information is None:
        return None
    if information.si_signo in STOP_SIGNALS:
        raise Stopped(f"signal {information.si_signo}")
    return signal.Signals(information.si_signo)


class Api:
    """Calls of the Arvados API that outlast an outage: only a clear no ends them."""

    def __init__(self, environment: dict[str, str], token: str, ca_certs: str = "") -> None:
        host = environment["ARVADOS_API_HOST"]
        self._plain = host.startswith("http://")
        self._host = host.removeprefix("http://").removeprefix("https://").rstrip("/")
        self._context = ssl.create_default_context(cafile=ca_certs or None)
        if environment.get("ARVADOS_API_HOST_INSECURE", "").lower() in ("1", "true", "yes"):
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer, however long it takes to get one. Raises Refused, or Stopped while waiting for the next try."""
        deadline, pause_s = time.monotonic() + RETRY_LONGEST_S, RETRY_FIRST_S
        while True:
            try:
                return self._once(method, path, body)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if time.monotonic() > deadline:
                    raise
                say(f"{method} {path}: {error}; trying again in {pause_s:.1f} s")
            _pause(pause_s * random.uniform(0.5, 1.0))  # jitter
            pause_s = min(pause_s * 2, RETRY_GREATEST_S)

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        connection = self._connection()
        try:
            connection.request(method, f"/arvados/v1/{path}", json.dumps(body) if body is not None else None, self._headers)
            response = connection.getresponse()
            text = response.read(ANSWER_GREATEST_BYTES).decode(errors="replace")
        finally:
            connection.close()
        if response.status >= 500 or response.status in (408, 429):
            raise OSError(f"the API answered {response.status}")
        if response.status != 200:
            raise Refused(response.status, text[:2000])
        return dict(json.loads(text))

    def _connection(self) -> http.client.HTTPConnection:
        if self._plain:
            return http.client.HTTPConnection(self._host, timeout=CALL_TIMEOUT_S)
        return http.client.HTTPSConnection(self._host, timeout=CALL_TIMEOUT_S, context=self._context)


def _pause(duration_s: float) -> None:
    """Sleep the whole time, whatever else is signalled meanwhile. Raises Stopped."""
    deadline = time.monotonic() + duration_s
    while (left := deadline - time.monotonic()) > 0:
        wait(left)


def say(text: str) -> None:
    """A line of the runner's own log; standard error is that file."""
    sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}\n")
    sys.stderr.flush()


# ----------------------------------------------------------------------------------------------------------- the container


class Place:
    """The folders and files that stand for a container's mounts."""

    def __init__(self, root: Path, container: dict[str, Any], secrets: dict[str, Any]) -> None:
        self.root = root
        self._mounts: dict[str, Any] = container["mounts"] or {}
        self._secrets = secrets
        self._container = container

    def prepare(self) -> None:
        """Make everything anew. Raises Unsuitable for a mount that only Keep could fill."""
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "tmp").mkdir(parents=True, mode=0o700)
        for path, mount in sorted({**self._mounts, **self._secrets}.items()):
            if path.startswith("/"):
                self._make(path, mount)

    def _make(self, path: str, mount: dict[str, Any]) -> None:
        kind, target = mount.get("kind"), self.real(path)
        if kind == "tmp" or (kind == "collection" and not (mount.get("portable_data_hash") or mount.get("uuid"))):
            target.mkdir(parents=True, exist_ok=True)
        elif kind in ("text", "json"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content_of(mount))
            target.chmod(0o600)
        else:
            raise Unsuitable(f"mount {path} of kind {kind!r} needs Keep, which the embedded runner does not have")

    def real(self, path: str) -> Path:
        """Where a path of the container is on this instance; never above the root."""
        return self.root / os.path.normpath(f"/{path}").lstrip("/")

    def working_folder(self) -> Path:
        cwd = self._container["cwd"] or "."
        folder = self.real(self._container["output_path"] if cwd == "." else cwd)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def stream(self, name: str, default: Path) -> Path:
        """The file of a standard stream: where the mount of that name says, else in the container's folder."""
        mount = self._mounts.get(name)
        return self.real(mount["path"]) if mount and mount.get("kind") == "file" and mount.get("path") else default

    def standard_input(self) -> bytes | None:
        mount = self._mounts.get("stdin")
        if mount and mount.get("kind") in ("text", "json"):
            return content_of(mount).encode()
        if mount:
            raise Unsuitable(f"stdin of kind {mount.get('kind')!r} needs Keep, which the embedded runner does not have")
        return None


def content_of(mount: dict[str, Any]) -> str:
    content = mount.get("content")
    return content if mount["kind"] == "text" and isinstance(content, str) else json.dumps(content)


def die_with_parent() -> None:
    """In the child, before the command: nobody may outlive the supervisor, and no signal stays blocked."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Command:
    """The container's command as a process group of its own."""

    def __init__(self, container: dict[str, Any], place: Place, home: Path, environment: dict[str, str]) -> None:
        text = place.standard_input()
        with (
            place.stream("stdout", home / "stdout.txt").open("wb") as output,
            place.stream("stderr", home / "stderr.txt").open("wb") as errors,
            _input_file(home, text) as given,
        ):
            self._process = subprocess.Popen(
                container["command"],
                cwd=place.working_folder(),
                env=environment,
                stdin=given,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def wait(self, longest_s: float | None) -> int | None:
        """The exit code, or None when the time is over. Raises Stopped."""
        deadline = None if not longest_s else time.monotonic() + longest_s
        while self._process.poll() is None:
            left = 3600.0 if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return None
            wait(left)
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    def stop(self, grace_s: float) -> None:
        """End the whole group: asked first, forced when the time is over."""
        deadline = time.monotonic() + grace_s
        self._signal(signal.SIGTERM)
        while self._process.poll() is None and time.monotonic() < deadline:
            signal.sigtimedwait(HANDLED, min(0.1, max(deadline - time.monotonic(), 0.0)))
        self.end()

    def end(self) -> None:
        """Leave nothing of the group behind."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _input_file(home: Path, content: bytes | None) -> IO[bytes]:
    if content is None:
        return Path(os.devnull).open("rb")
    path = home / "stdin"
    path.write_bytes(content)
    return path.open("rb")


class Supervisor:
    """One container from Locked to its end."""

    def __init__(self, options: argparse.Namespace, config: dict[str, Any]) -> None:
        self._options = options
        self._env: dict[str, str] = config.get("Env") or {}
        self._api = Api(self._env, self._env["ARVADOS_API_TOKEN"], options.ca_certs)
        self._uuid: str = options.uuid
        self._home = container_folder(options)
        self._began = time.time()

    def run(self) -> int:
        """The exit status. A stop before the command runs leaves the record Locked: the dispatcher decides what then."""
        container = self._api.call("GET", f"containers/{self._uuid}")
        if container["state"] != "Locked":
            say(f"the container is {container['state']}, not Locked: nothing to do")
            return 1
        try:
            token = self._container_token()
            place = Place(self._home / "root", container, self._secret_mounts(token))
            place.prepare()
        except Unsuitable as reason:
            self._finish({"state": "Cancelled", "runtime_status": {"error": str(reason)}})
            return 1
        self._become_running()
        self._finish(self._run_command(container, place, token))
        return 0

    def _container_token(self) -> str:
        auth = self._api.call("GET", f"containers/{self._uuid}/auth")
        return f"v2/{auth['uuid']}/{auth['api_token']}/{self._uuid}"

    def _secret_mounts(self, token: str) -> dict[str, Any]:
        inside = Api(self._env, token, self._options.ca_certs)
        answer = inside.call("GET", f"containers/{self._uuid}/secret_mounts")
        return dict(answer["secret_mounts"] or {})

    def _become_running(self) -> None:
        """Raises Stopped when we were asked to stop before the command could run; the record is not left Running then."""
        wait(0)
        address = self._env.get("GatewayAddress", "")
        try:
            self._update({"state": "Running", **({"gateway_address": address} if address else {})})
        except Stopped as reason:
            if self._state() == "Running":
                self._finish(self._cancelled(f"stopped by {reason}"))
            raise

    def _run_command(self, container: dict[str, Any], place: Place, token: str) -> dict[str, Any]:
        """Run it; what comes back is the last update of the record."""
        longest_s = container["scheduling_parameters"].get("max_run_time") or None
        try:
            command = Command(container, place, self._home, self._environment(container, place, token))
        except (OSError, Unsuitable, ValueError) as error:
            return self._cancelled(f"the command could not be started: {error}")
        try:
            code = command.wait(longest_s)
        except Stopped as reason:
            command.stop(self._options.stop_grace)
            return self._cancelled(f"stopped by {reason}")
        if code is None:
            command.stop(self._options.stop_grace)
            return self._cancelled(f"maximum run time of {longest_s} s exceeded")
        command.end()
        return {"state": "Complete", "exit_code": code, "cost": self._cost()}

    def _cancelled(self, reason: str) -> dict[str, Any]:
        say(reason)
        return {"state": "Cancelled", "runtime_status": {"error": f"Container did not finish: {reason}"}, "cost": self._cost()}

    def _environment(self, container: dict[str, Any], place: Place, token: str) -> dict[str, str]:
        """What the command is told: its own variables, and its own token when it asked for the API."""
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(place.root),
            "TMPDIR": str(place.root / "tmp"),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "CONTAINER_ROOT": str(place.root),
            "CONTAINER_OUTPUT": str(place.real(container["output_path"])),
        }
        if container["runtime_constraints"].get("API"):
            environment |= {name: self._env[name] for name in self._env if name.startswith("ARVADOS_API_HOST")}
            environment["ARVADOS_API_TOKEN"] = token
        return environment | {str(name): str(value) for name, value in (container["environment"] or {}).items()}

    def _cost(self) -> float:
        price = float(json.loads(self._env.get("InstanceType") or "{}").get("Price") or 0.0)
        return cost(price, read_prices(self._options.lock_dir), self._began, time.time())

    def _update(self, changes: dict[str, Any]) -> None:
        self._api.call("PUT", f"containers/{self._uuid}", {"container": changes})

    def _finish(self, changes: dict[str, Any]) -> None:
        """Make the last update, even when asked to stop meanwhile. A record that is final already is left as it is."""
        say(f"ends: {changes}")
        while True:
            try:
                return self._update(changes)
            except Stopped:
                continue
            except Refused as refusal:
                if self._state() in ("Complete", "Cancelled", "Queued"):
                    say(f"the record was ended by somebody else: {refusal}")
                    return None
                raise

    def _state(self) -> str:
        while True:
            with contextlib.suppress(Stopped):
                return str(self._api.call("GET", f"containers/{self._uuid}")["state"])


def read_prices(folder: Path) -> list[tuple[float, float]]:
    """The known prices as (seconds since 1970, price per hour), oldest first; none when there is no readable file."""
    try:
        entries = json.loads((folder / PRICES_FILE).read_text())
        return sorted((_seconds(each["StartTime"]), float(each["Price"])) for each in entries)
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _seconds(text: str) -> float:
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()


def cost(price: float, prices: Sequence[tuple[float, float]], began: float, ended: float) -> float:
    """What the time from ``began`` to ``ended`` (seconds) costs at a price per hour that may change on the way."""
    total, current, since = 0.0, price, began
    for start, next_price in prices:
        if start >= ended:
            break
        if start > since:
            total += current * (start - since)
            since = start
        current = next_price
    return (total + current * (ended - since)) / 3600


# ---------------------------------------------------------------------------------------------------------- command line


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options. What crunch-run knows and we do not need is accepted and left alone; the last word is the uuid."""
    parser = argparse.ArgumentParser(prog="crunch-run", description=__doc__, allow_abbrev=False)
    parser.add_argument("--list", action="store_true", help="print the containers that run here")
    parser.add_argument("--stdin-prices", action="store_true", help="read prices before the list")
    parser.add_argument("--kill", type=int, default=0, metavar="N", help="send a signal to a container's runner")
    parser.add_argument("--detach", action="store_true", help="start a container and leave it running")
    parser.add_argument("--no-detach", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--stdin-config", action="store_true", help="read the configuration from standard input")
    parser.add_argument("--lock-dir", type=Path, default=os.environ.get(LOCK_FOLDER_VARIABLE, LOCK_FOLDER_DEFAULT))
    parser.add_argument("--data-dir", type=Path, default=os.environ.get(DATA_FOLDER_VARIABLE, DATA_FOLDER_DEFAULT))
    parser.add_argument("--stop-grace", type=float, default=STOP_GRACE_S, metavar="S", help="seconds from TERM to KILL")
    parser.add_argument("--ca-certs", default="", help="certificates to trust")
    words = [re.sub(r"^-(?=[a-z-])-?", "--", each) for each in arguments]
    options, rest = parser.parse_known_args(words)
    options.uuid = rest[-1] if rest else ""
    if not options.list and not UUID.fullmatch(options.uuid):
        parser.error("the last argument must be the uuid of a container")
    return options


def supervise(options: argparse.Namespace) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    say(f"begins with container {options.uuid}, process {os.getpid()}")  # by this line a journal's reader finds the others
    config = json.loads(sys.stdin.read() or "{}") if options.stdin_config else {"Env": dict(os.environ)}
    try:
        return Supervisor(options, config).run()
    except Stopped as reason:
        say(f"{reason} before the command was started: the container stays Locked")
        return 1
    except Refused as refusal:
        say(f"the API refused: {refusal}")
        return 1


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(sys.argv[1:] if arguments is None else arguments)
    if options.list:
        if options.stdin_prices:
            save_prices(options.lock_dir, sys.stdin.read())
        sys.stdout.write("".join(f"{line}\n" for line in list_containers(options.lock_dir)))
        return 0
    if options.kill:
        return 0 if kill(options.lock_dir, options.uuid, options.kill) else 1
    if options.detach:
        detach(options)
        return 0
    return supervise(options)


if __name__ == "__main__":
    sys.exit(main())
