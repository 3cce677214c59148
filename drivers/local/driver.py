"""Instances that are processes on this host: a driver for trying things, for demonstrations and for tests without a cloud.

Everything it knows stands in its data folder and in the kernel's locks, so the dispatcher may die at any moment and its
successor finds the same instances. What is no longer listed has no process left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from dispatcher.driver import (
    Call,
    Capabilities,
    CloudError,
    Created,
    CreateRequest,
    Denied,
    DriverSettings,
    HostKey,
    Instance,
    Listing,
    Misconfigured,
    Presence,
    QuotaReached,
    Scope,
)
from drivers.local import processes
from drivers.local.commands import HOME_FOLDERS
from drivers.local.folder import (
    SAFE_NAME,
    DataFolder,
    InstanceFolder,
    read_json,
    read_text,
    write_json,
    write_text,
)
from drivers.local.parameters import Parameters, parse
from drivers.ssh_server import host_key_of, load_private_key, new_private_key

STOP_TIMEOUT_S = 3.0  # for an instance to end itself; then it is ended
CODE_FOLDER = Path(__file__).resolve().parents[2]  # from which ``drivers`` can be imported


class LocalDriver:
    """One data folder's instances."""

    capabilities = Capabilities(create_is_idempotent=True, host_keys=True, host_local=True)

    def __init__(self, settings: DriverSettings, parameters: Parameters) -> None:
        self._parameters = parameters
        self._data = DataFolder(parameters.folder)
        self._set_key = f"{settings.tag_prefix}InstanceSetID"
        self._set_id = settings.instance_set_id
        self._log = settings.log
        self._children: set[int] = set()
        self._children_lock = threading.Lock()

    # ---------------------------------------------------------------------------------------------------- the four calls

    def create(self, request: CreateRequest, call: Call) -> Created:
        """The same name again is the same instance."""
        self._reap()
        if not SAFE_NAME.fullmatch(request.name):
            raise CloudError(f"{request.name!r} cannot be the name of a local instance: letters, digits, dot, dash, at most 100")
        key = request.public_key or self._parameters.authorized_key
        if not key:
            raise Misconfigured("AuthorizedKey", "name a public key here, or set DeployPublicKey: true")
        with _as_cloud_error("create", outcome_unknown=True), self._data.locked():
            if self._has(request.name):
                return Created(request.name)
            self._check_quota(call)
            self._launch(self._furnish(request, key))
            return Created(request.name)

    def list(self, call: Call) -> Listing:
        """Those that live. What a dead one left behind is ended first: what is not listed does not run."""
        self._reap()
        with _as_cloud_error("list"):
            seen = [self._seen(folder) for folder in self._data.all_instances()]
        ours = tuple(instance for each in seen for instance in each or () if self._owns(instance.tags))
        return Listing(ours, complete=None not in seen)

    def destroy(self, instance_id: str, call: Call) -> None:
        """Returns when no process of it is left."""
        with _as_cloud_error("destroy", outcome_unknown=True):
            folder = self._data.instance(instance_id)
            if folder is None:
                return
            self._check_owner(folder)
            folder.deleting.touch()
            self._stop(folder, min(call.timeout_s, STOP_TIMEOUT_S))
            self._bury(folder)
        self._reap()

    def set_tags(self, instance_id: str, tags: Mapping[str, str], call: Call) -> None:
        with _as_cloud_error("set_tags", outcome_unknown=True):
            folder = self._data.instance(instance_id)
            if folder is None or not folder.is_alive():
                raise CloudError(f"no instance {instance_id}")
            self._check_owner(folder)
            write_json(folder.tags, dict(tags))

    def host_keys(self, instance_id: str) -> tuple[HostKey, ...]:
        """Made by this driver, so it can vouch for them."""
        folder = self._data.instance(instance_id)
        key = read_json(folder.facts).get("host_key") if folder is not None else None
        return (HostKey(key["type"], key["base64"]),) if key else ()

    # ------------------------------------------------------------------------------------------------------------ creating

    def _has(self, name: str) -> bool:
        """Whether this instance exists already; one that died meanwhile is buried first."""
        folder = self._data.instance(name)
        if folder is None:
            return False
        if not folder.is_alive():
            self._bury_locked(folder)
            return False
        self._check_owner(folder)
        if folder.deleting.exists():
            raise CloudError(f"{name} is being destroyed")
        return True

    def _check_quota(self, call: Call) -> None:
        call.limit = self._parameters.quota
        call.usage = sum(folder.is_alive() for folder in self._data.all_instances())
        if call.usage >= call.limit:
            raise QuotaReached(f"this host is allowed {self._parameters.quota} local instances (Quota)", scope=Scope.EVERYTHING)

    def _furnish(self, request: CreateRequest, key: str) -> InstanceFolder:
        """Write everything that the instance needs, out of sight."""
        folder = InstanceFolder(self._data.instances / f".new-{request.name}")
        shutil.rmtree(folder.path, ignore_errors=True)
        folder.path.mkdir(mode=0o700)
        for name in HOME_FOLDERS:
            (folder.home / name).mkdir(parents=True)
        private_key = new_private_key()
        host_key = host_key_of(load_private_key(private_key))
        write_text(folder.host_key, private_key)
        write_text(folder.authorized_keys, f"{key.strip()}\n")
        write_text(folder.init_script, request.init_script)
        write_json(folder.tags, dict(request.tags))
        write_json(
            folder.facts,
            {
                "name": request.name,
                "provider_type": request.instance_type.provider_type,
                "host_key": {"type": host_key.type, "base64": host_key.base64},
                "create_time_s": self._parameters.create_time_s,
                "boot_time_s": self._parameters.boot_time_s,
            },
        )
        return folder

    def _launch(self, hidden: InstanceFolder) -> None:
        """Let it be seen and start its process, which inherits the lock that says "alive"."""
        folder = InstanceFolder(hidden.path.with_name(hidden.id.removeprefix(".new-")))
        with hidden.alive.open("wb") as alive, hidden.log.open("ab") as log:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.path.rename(folder.path)
            arguments = [str(folder.path), str(self._data.path), str(alive.fileno())]
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "drivers.local.instance", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder.home,
                env={"PYTHONPATH": str(CODE_FOLDER), processes.MARKER: str(folder.path), "LANG": "C.UTF-8"},
                pass_fds=[alive.fileno()],
                start_new_session=True,
            )
        process.returncode = 0  # it outlives us: nobody waits for it, and _reap takes its remains away
        with self._children_lock:
            self._children.add(process.pid)

    def _reap(self) -> None:
        """Take away what remains of our children that ended."""
        with self._children_lock:
            for pid in list(self._children):
                try:
                    ended, _ = os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    ended = pid
                if ended:
                    self._children.discard(pid)

    # ---------------------------------------------------------------------------------------------------------- destroying

    def _stop(self, folder: InstanceFolder, patience_s: float) -> None:
        """Ask the instance to end; if it does not, end it with everything below it."""
        pid = folder.pid()
        handle = processes.open_handle(pid) if pid is not None else None
        if pid is None or handle is None:
            processes.kill_marked(str(folder.path))  # it only just starts, or is gone
            return
        try:
            if not folder.is_alive():
                return  # the number may be somebody else's by now
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            if not processes.wait_for_end(handle, patience_s):
                signal.pidfd_send_signal(handle, signal.SIGSTOP)
                processes.kill_below(pid)
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                processes.wait_for_end(handle, processes.PROCESS_END_TIMEOUT_S)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def _bury(self, folder: InstanceFolder) -> None:
        with self._data.locked():
            if not folder.is_alive():
                self._bury_locked(folder)

    def _bury_locked(self, folder: InstanceFolder) -> None:
        """End what it left behind, then take its folder away."""
        processes.kill_marked(str(folder.path))
        self._data.remove(folder, self._parameters.kept_logs, self._parameters.kept_outputs)

    # ------------------------------------------------------------------------------------------------------------- showing

    def _seen(self, folder: InstanceFolder) -> tuple[Instance, ...] | None:
        """Nothing for what is dead, which is buried. None when nobody can say whether it lives or whose it is: the list then
        proves no absence, and the others are shown all the same."""
        try:
            if folder.is_alive():
                return (self._shown(folder),)
            self._bury(folder)
        except OSError as error:
            self._log.warning("list: %s", error)
            return None
        return ()

    def _shown(self, folder: InstanceFolder) -> Instance:
        facts = read_json(folder.facts)
        created = datetime.fromtimestamp(folder.facts.stat().st_mtime, UTC) if facts else None
        return Instance(
            id=folder.id,
            name=str(facts.get("name", folder.id)),
            provider_type=str(facts.get("provider_type", "")),
            address=read_text(folder.address) or None,
            user=pwd.getpwuid(os.geteuid()).pw_name,
            tags=folder.read_tags(),
            created_at=f"{created:%Y-%m-%dT%H:%M:%SZ}" if created else None,
            state=Presence.DELETING if folder.deleting.exists() else Presence.PRESENT,
        )

    def _owns(self, tags: Mapping[str, str]) -> bool:
        return tags.get(self._set_key) == self._set_id

    def _check_owner(self, folder: InstanceFolder) -> None:
        if not self._owns(folder.read_tags()):
            raise CloudError(f"{folder.id} is not ours: its tag {self._set_key} names another set")


@contextlib.contextmanager
def _as_cloud_error(call_name: str, *, outcome_unknown: bool = False) -> Iterator[None]:
    """What the disk or the kernel refuse is an error like any other; what they forbid, an operator has to mend."""
    try:
        yield
    except PermissionError as error:
        raise Denied(f"{call_name}: {error}", scope=Scope.EVERYTHING, outcome_unknown=outcome_unknown) from error
    except OSError as error:
        raise CloudError(f"{call_name}: {error}", outcome_unknown=outcome_unknown) from error


def open(settings: DriverSettings) -> LocalDriver:
    """Parameters: ``Folder`` (absolute; required), ``BootTime`` (2s), ``CreateTime`` (0s), ``Quota`` (8), ``AuthorizedKey``
    (needed when the dispatcher deploys no public key), ``KeptLogs`` (50), ``KeptOutputs`` (1000). Raises Misconfigured."""
    return LocalDriver(settings, parse(settings.parameters))
