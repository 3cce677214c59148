"""The installed service on a machine that was booted by systemd: from nothing to running containers, and through what happens to
a service. The tests are one story, told in this order."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess

import pytest

from tests.package.bases import Failed
from tests.sources import ROOT

pytestmark = [pytest.mark.deb, pytest.mark.timeout(1200)]

UNIT = "cloud-dispatcher.service"
DATA = "--data /var/lib/cloud-dispatcher"
TOKEN = "$(cat /etc/cloud-dispatcher/credentials/ManagementToken)"
PATIENCE_S = 120.0


def typed() -> list[str]:
    """The blocks of docs/install.md that are to be typed as they stand, without that of the installation itself."""
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "apt-get install" not in block]


def health(machine) -> dict:
    said = machine.ask(f'curl -sS -H "Authorization: Bearer {TOKEN}" http://127.0.0.1:9006/_health/ping')
    with contextlib.suppress(ValueError):
        return json.loads(said)
    return {}


def wait_until_well(machine) -> None:
    try:
        machine.wait(lambda: health(machine).get("health") == "OK", PATIENCE_S, "the service is not well")
    except AssertionError as late:
        raise AssertionError(f"{health(machine)}\n{late}") from None


def submit(machine, script: str) -> subprocess.Popen:
    """A container that is followed to its end while other things happen."""
    command = machine.command(f"cloud-dispatcher submit {DATA} --wait -- sh -c '{script}'")
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def begun(machine, word: str) -> int:
    outputs = "/var/lib/cloud-dispatcher/local/containers/*/stdout.txt"
    return int(machine.ask(f"cat {outputs} 2>/dev/null | grep -c {word} || true") or 0)


def test_without_a_configuration_it_says_what_to_do(service):
    """Nothing failed, nothing listens, and the status has the command in one line."""
    assert service.property("ActiveState") == "inactive"
    assert service.ask("systemctl --failed --no-legend --plain").strip() == ""
    said = service.ask(f"systemctl status --no-pager {UNIT} || true")
    assert "There is no configuration yet: run cloud-dispatcher setup" in said


def test_what_is_documented_leads_to_a_running_service(service):
    """Each block of docs/install.md as it stands: at the end a container has run on the local driver."""
    said = "".join(service.do(block, timeout_s=300) for block in typed())
    assert "everything is there; start it:" in said
    assert re.search(r"^hello from \S+$", said, re.MULTILINE)
    assert "exit code 0" in said
    assert re.search(r'"health": ?"OK"', said)


def test_its_exposure_is_small(service):
    """By systemd's own measure, without what setup --local takes away."""
    alone = "/root/cloud-dispatcher-alone.service"
    service.do(f"cp /usr/lib/systemd/system/{UNIT} {alone}")
    said = service.do(f"systemd-analyze security --no-pager --offline=true {alone}")
    level = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1])
    assert level <= 1.2


def test_a_restart_and_a_reload_lose_no_request_and_no_container(service, hammer):
    """The socket stays open, and what runs is found again."""
    running = submit(service, "echo onceover; sleep 20")
    service.wait(lambda: begun(service, "onceover") == 1, PATIENCE_S, "the container does not begin")
    with hammer:
        service.do(f"systemctl reload {UNIT}")
        service.do(f"systemctl restart {UNIT}")
    print(f"reload and restart: {hammer.told}")
    assert hammer.told["lost"] == []
    assert hammer.told["answers"] > 0
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert "exit code 0" in said
    assert begun(service, "onceover") == 1
    wait_until_well(service)


def test_an_upgrade_and_a_downgrade_lose_no_request_and_no_container(service, hammer):
    """By dpkg, while clients ask and a container runs."""
    running = submit(service, "echo upgraded; sleep 20")
    service.wait(lambda: begun(service, "upgraded") == 1, PATIENCE_S, "the container does not begin")
    before = service.property("MainPID")
    with hammer:
        service.do("dpkg --install /root/new.deb", timeout_s=300)
        assert service.property("MainPID") not in (before, "0")
        service.do("dpkg --install /root/old.deb", timeout_s=300)
    print(f"upgrade and downgrade: {hammer.told}")
    assert hammer.told["lost"] == []
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert "exit code 0" in said
    assert begun(service, "upgraded") == 1
    wait_until_well(service)


def test_a_bad_file_is_refused_and_what_is_in_force_stays(service):
    """The reload fails and says why; the service goes on, and health names a key that waits for a start."""
    config = "/etc/cloud-dispatcher/config.yml"
    service.do(f"cp {config} /root/kept; sed -i 's/MaxInstances: .*/MaxInstances: many/' {config}")
    with pytest.raises(Failed):
        service.do(f"systemctl reload {UNIT}")
    wait_until_well(service)
    service.do(f"sed -i 's/MaxInstances: many/SSHPort: 2222/' {config}; systemctl reload {UNIT}")

    def is_told() -> bool:
        return any("Containers.CloudVMs.SSHPort" in text for text in health(service).get("warnings", ()))

    service.wait(is_told, PATIENCE_S, "nobody says that a key waits for a start")
    service.do(f"cp /root/kept {config}; systemctl reload {UNIT}")


def test_a_file_that_the_service_may_not_read_is_refused(service):
    """Root could read it: the reload fails all the same, with the mend, and the service goes on."""
    config = "/etc/cloud-dispatcher/config.yml"
    service.do(f"cp -a {config} /root/kept; chown root:root {config}; chmod 0640 {config}")
    with pytest.raises(Failed):
        service.do(f"systemctl reload {UNIT}")
    assert "may not read it" in service.ask(f"journalctl --no-pager -u {UNIT} -n 20")
    wait_until_well(service)
    service.do(f"cp -a /root/kept {config}; systemctl reload {UNIT}")


def test_a_full_disk_is_told_and_survived(service):
    """Where hints and the embedded queue are kept nothing can be written: the service stays and says so, and when there is room
    again everything is as before."""
    state, kept = "/var/lib/cloud-dispatcher", "/var/kept"
    units = f"cloud-dispatcher-queue.service cloud-dispatcher.socket {UNIT}"
    stop, start = f"systemctl stop {units}; pkill -u _cloud-dispatcher || true", f"systemctl start {units}"
    service.do(f"{stop}; mv {state} {kept}; mkdir {state}")
    service.do(f"mount -t tmpfs -o size=24m,mode=0700 none {state}; cp -a {kept}/. {state}; {start}")
    wait_until_well(service)
    service.ask(f"dd if=/dev/zero of={state}/filler bs=4k")
    service.wait(lambda: "disk is full" in str(health(service).get("warnings")), PATIENCE_S, "nobody notices")
    assert service.property("ActiveState") == "active"
    service.do(f"rm {state}/filler; cloud-dispatcher submit {DATA} --wait -- true", timeout_s=300)
    service.wait(lambda: not health(service).get("warnings"), PATIENCE_S, "the warning stays")
    service.do(f"{stop}; umount --lazy {state}; rmdir {state}; mv {kept} {state}; {start}")
    wait_until_well(service)


def test_killed_processes_come_back_by_themselves(service):
    """kill -9 of the worker, of the first process, and of both while a container runs."""
    running = submit(service, "echo murdered; sleep 25")
    service.wait(lambda: begun(service, "murdered") == 1, PATIENCE_S, "the container does not begin")
    first = service.property("MainPID")
    service.do(f"kill -9 $(pgrep -P {first} -f 'cloud-dispatcher run')")
    wait_until_well(service)
    assert service.property("MainPID") == first
    service.do(f"kill -9 {first}")
    service.wait(lambda: service.property("MainPID") not in (first, "0"), PATIENCE_S, "it does not come back")
    wait_until_well(service)
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert "exit code 0" in said
    assert begun(service, "murdered") == 1


def test_a_service_that_hangs_is_started_again(service):
    """No sign of life from the loops, and systemd's watchdog acts. Here after seconds, so that nobody waits for a minute, and
    with the KillMode of the unit itself: a process that was stopped from outside cannot notice that it was left alone."""
    folder = f"/run/systemd/system/{UNIT}.d"
    service.do(f"mkdir -p {folder}; printf '[Service]\\nWatchdogSec=8\\nKillMode=mixed\\n' >{folder}/short.conf")
    service.do(f"systemctl daemon-reload; systemctl restart {UNIT}")
    wait_until_well(service)
    first = service.property("MainPID")
    service.do(f"kill -STOP $(pgrep -P {first} -f 'cloud-dispatcher run') {first}")
    service.wait(lambda: service.property("MainPID") not in (first, "0"), PATIENCE_S, "the watchdog does not act")
    wait_until_well(service)
    assert "atchdog timeout" in service.ask(f"journalctl --no-pager -u {UNIT}")
    service.do(f"rm -r {folder}; systemctl daemon-reload; systemctl restart {UNIT}")


def test_a_start_that_cannot_succeed_is_not_repeated(service):
    """Everything that is wrong is said once, and the status is that of a wrong configuration."""
    config = "/etc/cloud-dispatcher/config.yml"
    service.do(f"systemctl stop cloud-dispatcher.socket {UNIT}")
    service.do(f"cp {config} /root/kept; sed -i 's/Driver: local/Driver: lokal/' {config}")
    with pytest.raises(Failed):
        service.do(f"systemctl start {UNIT}")
    assert service.property("ExecMainStatus") == "78"
    assert service.property("ActiveState") == "failed"
    service.do(f"cp /root/kept {config}; systemctl restart cloud-dispatcher.socket {UNIT}")
    wait_until_well(service)


def test_removed_and_installed_again_it_knows_everything(service):
    """A removal keeps configuration and state; nothing of the package runs meanwhile."""
    service.do("dpkg --remove cloud-dispatcher", timeout_s=300)
    assert service.ask("pgrep -u _cloud-dispatcher -a || true").strip() == ""
    service.do("dpkg --install /root/old.deb; systemctl restart cloud-dispatcher-queue.service", timeout_s=300)
    wait_until_well(service)
    assert "exit code 0" in service.do(f"cloud-dispatcher submit {DATA} --wait -- true", timeout_s=300)


def test_a_purge_leaves_nothing_but_the_user(service):
    """No file, no process, no unit; the user stays, since its number may stand on files elsewhere."""
    service.do("dpkg --purge cloud-dispatcher", timeout_s=300)
    left = service.ask("find /etc /usr /var /run /lib /opt /srv /home -xdev -name '*cloud-dispatcher*'")
    assert left.split() == []
    assert service.ask("pgrep -u _cloud-dispatcher -a || true").strip() == ""
    listed = service.ask("systemctl list-units --all --no-legend --plain 'cloud-dispatcher*'").splitlines()
    assert [line for line in listed if line.split()[1:4] != ["not-found", "inactive", "dead"]] == []  # forgotten a little later
    assert "_cloud-dispatcher" in service.do("getent passwd _cloud-dispatcher")
