"""A real OpenSSH server on loopback, for tests: it plays an instance and lives in one folder.

Its commands run in a shell whose PATH begins with the folder's ``bin``, where tests put a runner and where ``sudo`` is a
stand-in; the instance's secret is read from the folder instead of from where an instance keeps it.
"""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from needs import needs_command

from dispatcher.core.messages import Target
from dispatcher.driver import HostKey
from tests.processes import below

START_TIMEOUT_S = 20.0

CONFIG = """\
ListenAddress {listen}
Port {port}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
AuthorizedKeysFile {folder}/authorized_keys
SetEnv SHLVL=5
MaxSessions {max_sessions}
LogLevel INFO
ForceCommand {folder}/bin/.instance-shell
"""

# SHLVL and sh keep a developer's own shell start-up files out of every command.
SHELL = """\
#!/bin/sh
export PATH={folder}/bin:$PATH
case "$SSH_ORIGINAL_COMMAND" in
  "cat /var/run/arvados-instance-secret") exec cat {folder}/secret ;;
  "sudo cat /var/run/arvados-instance-secret") exec sudo cat {folder}/secret ;;
esac
cd {folder} && exec sh -c "$SSH_ORIGINAL_COMMAND"
"""

RECORDING_SHELL = """\
#!/bin/sh
{{ echo "$SSH_ORIGINAL_COMMAND"; env; }} >> {folder}/received
(trap '' PIPE; exec tee -a {folder}/received 2>/dev/null) | {folder}/bin/.plain-shell
"""

# OpenSSH runs it only when it belongs to root: elsewhere the one key stands in for all.
ANYBODY = """\
#!/bin/sh
echo "$1 $2"
"""

KEY_MAKERS = {
    "ssh-ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa-sha2-nistp256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ssh-rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@dataclass(frozen=True)
class KeyPair:
    """A key in OpenSSH's formats."""

    private: str = field(repr=False)
    public: HostKey

    @property
    def line(self) -> str:
        return f"{self.public.type} {self.public.base64}"


def make_key(kind: str = "ssh-ed25519") -> KeyPair:
    key = KEY_MAKERS[kind]()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    kind, base64 = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode().split()[:2]
    return KeyPair(private, HostKey(kind, base64))


@dataclass
class SSHD:
    """One server. ``login`` is the key that it accepts for the user who runs the tests."""

    folder: Path
    host_keys: list[KeyPair]
    login: KeyPair
    secret: str = "s3cret-of-the-instance"
    listen: str = "127.0.0.1"
    max_sessions: int = 10
    records: bool = False  # everything that anybody sends goes into the folder's ``received``
    accepts_anybody: bool = False  # every key that is offered logs in
    more: str = ""  # lines of its configuration
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def user(self) -> str:
        return getpass.getuser()

    @property
    def address(self) -> str:
        return f"[{self.listen}]:{self.port}" if ":" in self.listen else f"{self.listen}:{self.port}"

    def target(self, name: str = "vm-1", *, secret: str | None = None, host_keys: tuple[HostKey, ...] = ()) -> Target:
        return Target(
            name=name,
            address=self.address,
            user=self.user,
            secret=self.secret if secret is None else secret,
            host_keys=host_keys,
        )

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def logins(self) -> int:
        return self.log().count("Accepted publickey")

    def install(self, name: str, script: str) -> Path:
        """Put an executable into the instance's PATH."""
        path = self.folder / "bin" / name
        path.write_text(script)
        path.chmod(0o755)
        return path

    def start(self) -> None:
        self._write_files()
        command = [needs_command("sshd", package="openssh-server", service="ssh"), "-D", "-e", "-f", str(self.folder / "config")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        self._wait_until_it_speaks()

    def stop(self) -> None:
        """The listener and every connection, at once."""
        if self.process is not None:
            for pid in [*below(self.process.pid), self.process.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.process.wait()
            self.process = None
        if self.accepts_anybody and os.geteuid() == 0:
            self._anybody().unlink()

    def _write_files(self) -> None:
        self.port = self.port or free_port(self.listen)
        (self.folder / "bin").mkdir(exist_ok=True)
        (self.folder / "secret").write_text(self.secret)
        (self.folder / "authorized_keys").write_text(self.login.line + "\n")
        shell = SHELL.format(folder=self.folder)
        self.install(".plain-shell", shell)
        self.install(".instance-shell", RECORDING_SHELL.format(folder=self.folder) if self.records else shell)
        self.install("sudo", '#!/bin/sh\nSUDO=used exec "$@"\n')
        config = CONFIG.format(listen=self.listen, port=self.port, folder=self.folder, max_sessions=self.max_sessions)
        for number, key in enumerate(self.host_keys):
            path = self.folder / f"host_key_{number}"
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(key.private)
            config += f"HostKey {path}\n"
        if self.records:
            config += "AcceptEnv *\n"
        if self.accepts_anybody and os.geteuid() == 0:
            (self.folder / "authorized_keys").write_text("")
            config += f"AuthorizedKeysCommand {self._anybody()} %t %k\nAuthorizedKeysCommandUser root\n"
        (self.folder / "config").write_text(config + self.more + "\n")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # a server that runs as root insists on it

    def _anybody(self) -> Path:
        """Outside the folder of the test: every folder above such a command has to be root's alone."""
        path = Path("/run/sshd") / f"anybody-{self.port}"
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.write_text(ANYBODY)
        path.chmod(0o755)
        return path

    def received(self) -> str:
        """What came in, besides the public key of who logged in."""
        path = self.folder / "received"
        return path.read_text(errors="replace") if path.exists() else ""

    def _wait_until_it_speaks(self) -> None:
        assert self.process is not None
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with socket.create_connection((self.listen, self.port), timeout=1) as sock:
                    if sock.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"sshd did not start:\n{self.log()}")


@contextmanager
def running_sshd(folder: Path, *, host_key_kinds: tuple[str, ...] = ("ssh-ed25519",), **options: object) -> Iterator[SSHD]:
    """A server until the end of the block. ``options`` are fields of SSHD."""
    server = SSHD(folder=folder, host_keys=[make_key(kind) for kind in host_key_kinds], login=make_key(), **options)  # type: ignore[arg-type]
    try:
        server.start()
        yield server
    finally:
        server.stop()


def free_port(listen: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in listen else socket.AF_INET) as sock:
        sock.bind((listen, 0))
        port: int = sock.getsockname()[1]
        return port
