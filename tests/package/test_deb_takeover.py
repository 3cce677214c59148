"""In place of the Arvados dispatcher and back, on one machine with a database, an embedded queue and local instances: what runs
goes on under whoever leads. The other dispatcher is a stand-in (stand_in.py) that leaves what is documented of it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.package.bases import bootable, in_chroot
from tests.package.machine import booted, install, layer
from tests.package.test_deb_service import PATIENCE_S, TOKEN, UNIT, begun, health, submit, wait_until_well

pytestmark = [pytest.mark.deb, pytest.mark.timeout(1800)]

CONFIG = "/etc/cloud-dispatcher/config.yml"
PASSWORD = "/etc/cloud-dispatcher/credentials/PostgreSQL.Connection.password"
DATABASE = "    PostgreSQL:\\n      Connection: {host: 127.0.0.1, dbname: arvados, user: arvados}\\n"
LEFT = "/var/lib/cloud-dispatcher/other"
QUIET = "cloud-dispatcher.socket cloud-dispatcher.service"


@pytest.fixture(scope="module")
def shared(suite, package):
    """Everything is configured and the queue runs; no dispatcher does."""
    with layer(bootable(suite)) as tree:
        install(tree, package)
        in_chroot(tree, "apt-get install -y postgresql")
        shutil.copy(Path(__file__).with_name("stand_in.py"), tree / "usr/local/lib/stand_in.py")
        with booted(tree) as machine:
            machine.do("systemctl start postgresql")
            machine.do("runuser -u postgres -- psql -qc \"CREATE ROLE arvados LOGIN PASSWORD 'of-a-test'\"")
            machine.do("runuser -u postgres -- createdb -O arvados arvados")
            machine.do(f"cloud-dispatcher setup --local; printf of-a-test >{PASSWORD}; chmod 0600 {PASSWORD}")
            machine.do(f"sed -i 's/^    Containers:/{DATABASE}&/' {CONFIG}; cloud-dispatcher check-config --quiet")
            machine.do("systemctl daemon-reload; systemctl restart cloud-dispatcher-queue.service")
            yield machine


def other(machine, what):
    """The stand-in as a service of its own, whose instances outlive it as those of a cloud do."""
    options = "--uid=_cloud-dispatcher -p KillMode=process -p LoadCredential=cloud-dispatcher:/etc/cloud-dispatcher/credentials"
    machine.do(f"rm -rf {LEFT}; install -d -o _cloud-dispatcher {LEFT}")
    machine.do(f"systemd-run -q --unit=other-{what} {options} --setenv=PYTHONPATH=/usr/share/cloud-dispatcher"
               f" python3 /usr/local/lib/stand_in.py {what} {LEFT}")


def left(machine, name):
    return machine.ask(f"cat {LEFT}/{name}").strip()


def instances(machine):
    said = machine.do(f'curl -sS -H "Authorization: Bearer {TOKEN}" http://127.0.0.1:9006/arvados/v1/dispatch/instances')
    return json.loads(said)["items"]


def record(machine, uuid):
    """A container as the queue has it."""
    certificate, token = "/var/lib/cloud-dispatcher/queue/certificate.pem", TOKEN.replace("ManagementToken", "SystemRootToken")
    url = f"https://127.0.0.1:9007/arvados/v1/containers/{uuid}"
    return json.loads(machine.do(f'curl -sS --cacert {certificate} -H "Authorization: Bearer {token}" {url}'))


def test_what_the_other_left_goes_on(shared):
    """What runs is not started again, what was only locked keeps its lock, and what was held is held."""
    other(shared, "leave")
    first = submit(shared, "echo inherited; sleep 30")
    shared.wait(lambda: begun(shared, "inherited") == 1, PATIENCE_S, "the container does not begin")
    second = submit(shared, "echo locked")
    shared.wait(lambda: left(shared, "locked-2") != "", PATIENCE_S, "the other one locks nothing")
    shared.do(f"systemctl start {QUIET}")
    shared.wait(lambda: "waiting to lead" in health(shared).get("error", ""), PATIENCE_S, "nobody says who leads")
    shared.do("systemctl stop other-leave.service")
    wait_until_well(shared)
    found = lambda: any(one["running_container_uuids"] for one in instances(shared))  # noqa: E731
    shared.wait(found, PATIENCE_S, "it does not find the runner")
    assert sorted(one["idle_behavior"] for one in instances(shared)) == ["hold", "run"]
    for ends in (first, second):
        said, _ = ends.communicate(timeout=2 * PATIENCE_S)
        assert "exit code 0" in said
    assert (begun(shared, "inherited"), begun(shared, "locked")) == (1, 1)
    assert [record(shared, left(shared, name))["lock_count"] for name in ("locked-1", "locked-2")] == [1, 1]


def test_and_back(shared):
    """The other one knows each instance by its tags, finds our runner by its own means, and may lock what is ours."""
    running = submit(shared, "echo returned; sleep 30")
    shared.wait(lambda: begun(shared, "returned") == 1, PATIENCE_S, "the container does not begin")
    held = next(one["instance"] for one in instances(shared) if one["idle_behavior"] == "hold")
    shared.do(f"cloud-dispatcher instance hold {held} --reason 'looked at'")
    shared.do(f"systemctl stop {QUIET}")
    other(shared, "find")
    shared.wait(lambda: left(shared, "found.json") != "", PATIENCE_S, "the other one finds nothing")
    found = json.loads(left(shared, "found.json"))
    assert all(one["known"] and one["secret"] for one in found["instances"])
    assert sorted(one["behavior"] for one in found["instances"]) == ["hold", "run"]
    (uuid,) = (uuid for one in found["instances"] for uuid in one["runs"])
    assert found["containers"] == {uuid: "Running"}
    assert re.fullmatch(r"zzzzz-dz642-\w{15}", uuid)
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert "exit code 0" in said
    assert begun(shared, "returned") == 1
    assert shared.property("ActiveState", UNIT) == "inactive"
