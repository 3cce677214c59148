"""What the tests of the instance port share: a stand-in runner, and the port's settings for a server on loopback."""

from __future__ import annotations

from dataclasses import replace

from ssh_support import TIMEOUT_S
from sshd import SSHD

from dispatcher.driver import InstanceType
from dispatcher.edge.instances import InstanceAccess
from dispatcher.edge.runner_config import RunnerAccess

UUID = "zzzzz-dz642-000000000000001"
TYPE = InstanceType(name="small", provider_type="s", vcpus=2, ram_bytes=1 << 30)

# Prints what the real one prints; its files lie in the working directory.
RUNNER = """\
#!/bin/sh
case "$1" in
  --list) cat list.txt 2>/dev/null; exit 0 ;;
  --detach) shift; echo "$@" >args.txt; cat >stdin.json
    test -e refuse && { echo "container is already running" >&2; exit 1; }
    test -e hang && { touch hanging; sleep 60; }
    echo '{"UUID":"'$UUID'","PID":1}' ;;
  --kill) test -e alive-"$3" && { echo "still there" >&2; exit 1; }; exit 0 ;;
esac
"""


def access(server: SSHD, **changes: object) -> InstanceAccess:
    base = InstanceAccess(
        private_key=server.login.private,
        cluster_id="zzzzz",
        boot_probe_command="test -e booted",
        runner_access=RunnerAccess(api_host="api.example.com", api_token="v2/secret-token", system_root_token="root"),
        timeout_command_s=TIMEOUT_S,
    )
    return replace(base, **changes)  # type: ignore[arg-type]
