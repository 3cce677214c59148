"""The command lines that a stub instance understands, mapped to what the instance can do. Pure but for the instance.

Whatever else is asked fails as a shell would fail, with status 127 and the command in the message.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shlex
import zlib
from dataclasses import dataclass, replace

from drivers.stub.instance import NOT_FOUND, CommandFailed, StubInstance, Unreachable

SECRET_PATH = "/var/run/arvados-instance-secret"  # noqa: S105  the place, not the secret
BOOT_PROBES = ("true", "systemctl is-system-running")
ASKS_NOTICES = "; s=$?; "  # what follows asks what the machine was told of its own end
NOTICES = "--- notices ---"
DEPLOY_TARGET = re.compile(r"\S*/crunch-run~([0-9a-f]{32})")
RUNNER = re.compile(r"(?:\S*/)?crunch-run\S*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """``after_s``: how long the command takes."""

    status: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    after_s: float = 0.0


def answer(instance: StubInstance, command: str, given: bytes, now: float) -> Reply | None:
    """What the command prints; None when the instance falls silent."""
    try:
        instance.run_command(now)
        return _dispatch(instance, command.removeprefix("sudo ").strip(), given, now)
    except CommandFailed as error:
        return Reply(status=error.status, stderr=f"{error.stderr}\n".encode())
    except Unreachable:
        return None


def _dispatch(instance: StubInstance, command: str, given: bytes, now: float) -> Reply:
    if command in BOOT_PROBES:
        instance.run_boot_probe(now)
        return Reply(stdout=b"" if command == "true" else b"running\n")
    if command == f"cat {SECRET_PATH}":
        return Reply(stdout=instance.read_secret(now).encode())
    if ASKS_NOTICES in command:
        return _with_notice(instance, _dispatch(instance, command.partition(ASKS_NOTICES)[0], given, now))
    words = shlex.split(command)
    if words[0] == "md5sum" and len(words) == 2:
        return _md5sum(instance, words[1])
    if words[:3:2] == ["timeout", "sh"]:
        return Reply(stdout=instance.read_output(words[-1], now).encode())
    if words[0] == "sh":
        return _deploy(instance, command, given)
    if RUNNER.fullmatch(words[0]):
        return _run_runner(instance, words, given, now)
    raise CommandFailed(NOT_FOUND, f"sh: 1: {words[0]}: not found")


def _with_notice(instance: StubInstance, reply: Reply) -> Reply:
    return replace(reply, stdout=reply.stdout + f"\n{NOTICES}\n{instance.notice}".encode())


def _md5sum(instance: StubInstance, path: str) -> Reply:
    if path not in instance.files:
        raise CommandFailed(1, f"md5sum: {path}: No such file or directory")
    digest = hashlib.md5(instance.files[path], usedforsecurity=False).hexdigest()
    return Reply(stdout=f"{digest}  {path}\n".encode())


def _deploy(instance: StubInstance, command: str, given: bytes) -> Reply:
    """A script that writes standard input to a runner's path, decompressed if it says so; the name of that path tells what must
    arrive."""
    target = DEPLOY_TARGET.search(command.replace("'", " ").replace('"', " "))
    if target is None:
        raise CommandFailed(2, "sh: the stub runs no scripts but the one that puts a runner in place")
    given = _decompressed(given) if "gzip -dc" in command else given
    if hashlib.md5(given, usedforsecurity=False).hexdigest() != target[1]:
        raise CommandFailed(1, "the runner arrived damaged")
    instance.files[target[0]] = given
    return Reply()


def _decompressed(given: bytes) -> bytes:
    try:
        return gzip.decompress(given)
    except (OSError, EOFError, zlib.error):
        raise CommandFailed(1, "gzip: stdin: not in gzip format, or cut short") from None


def _run_runner(instance: StubInstance, words: list[str], given: bytes, now: float) -> Reply:
    if words[0].startswith("/") and words[0] not in instance.files:
        raise CommandFailed(NOT_FOUND, f"sh: 1: {words[0]}: not found")
    if "--list" in words:
        lines = instance.list_processes(now).lines()
        return Reply(stdout="".join(f"{line}\n" for line in lines).encode())
    if "--kill" in words:
        return _kill(instance, words, now)
    if "--detach" in words:
        return _start(instance, words[-1], given, now)
    raise CommandFailed(2, "crunch-run: one of --list, --kill and --detach is needed")


def _kill(instance: StubInstance, words: list[str], now: float) -> Reply:
    gone = instance.kill(words[-1], int(words[words.index("--kill") + 1]), now)
    return Reply() if gone else Reply(status=1, stderr=b"still running\n", after_s=1.0)


def _start(instance: StubInstance, uuid: str, given: bytes, now: float) -> Reply:
    """The environment must hold what a runner cannot do without."""
    try:
        environment = json.loads(given)["Env"]
    except (ValueError, KeyError, TypeError):
        raise CommandFailed(2, "crunch-run: no configuration on standard input") from None
    missing = [name for name in ("ARVADOS_API_HOST", "ARVADOS_API_TOKEN", "InstanceType") if not environment.get(name)]
    if missing:
        raise CommandFailed(2, f"crunch-run: the configuration lacks {', '.join(missing)}")
    process = instance.start(uuid, now)
    report = json.dumps({"UUID": uuid, "PID": 1})
    return Reply(stdout=f"{report}\n".encode(), after_s=process.listed_s - now)
