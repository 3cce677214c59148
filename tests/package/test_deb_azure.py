"""The Azure driver's package under the unit as it ships, with nothing of its confinement taken away: its SDK signs in, creates,
lists and deletes, and the secret comes as a credential."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.package.bases import bootable
from tests.package.machine import booted, install, layer
from tests.package.test_deb_service import PATIENCE_S, UNIT, submit, wait_until_well
from tests.sources import ROOT

pytestmark = [pytest.mark.deb, pytest.mark.timeout(1200)]

RIG = "/usr/local/lib/rig"
FOLDER = "/var/lib/azure"


@pytest.fixture(scope="module")
def clouded(suite, package, built):
    """Both packages, an embedded queue, and the fake Azure; the service runs for it."""
    with layer(bootable(suite)) as tree:
        install(tree, package, next(built.glob("cloud-dispatcher-driver-azure_*_all.deb")))
        rig = tree / RIG[1:]
        shutil.copytree(ROOT / "tests/fake_azure", rig / "tests/fake_azure")
        shutil.copy(ROOT / "tests/package/azure_rig.py", rig)
        with booted(tree) as machine:
            machine.do("cloud-dispatcher setup --local; rm /etc/systemd/system/cloud-dispatcher.service.d/setup.conf")
            machine.do("systemctl daemon-reload; systemctl restart cloud-dispatcher-queue.service")
            machine.do(f"install -d {FOLDER}; systemd-run -q --unit=azure --setenv=PYTHONPATH={RIG}:/usr/share/cloud-dispatcher"
                       f" python3 {RIG}/azure_rig.py {FOLDER}")
            machine.wait(lambda: "yes" in machine.ask(f"test -e {FOLDER}/ready && echo yes"), PATIENCE_S, "no cloud")
            machine.do("chown root:_cloud-dispatcher /etc/cloud-dispatcher/config.yml; cloud-dispatcher check-config")
            machine.do("systemctl restart cloud-dispatcher.socket cloud-dispatcher.service")
            yield machine


def test_the_sdk_works_under_the_confinement(clouded):
    """Containers run on machines that the driver made, and in the end nothing is left in the account."""
    assert clouded.property("MemoryDenyWriteExecute") == "yes"
    assert clouded.property("ProtectSystem") == "strict"
    wait_until_well(clouded)
    asked = [submit(clouded, "true") for _ in range(3)]
    for each in asked:
        said, _ = each.communicate(timeout=2 * PATIENCE_S)
        assert "Complete" in said or "exit code 0" in said, f"{said}\n{clouded.story()}"
    left = lambda: json.loads(clouded.ask(f"cat {FOLDER}/seen.json") or "{}").get("left")  # noqa: E731
    clouded.wait(lambda: left() == [], PATIENCE_S, "something is left")
    clouded.do("systemctl stop azure.service")
    told = json.loads(clouded.do(f"cat {FOLDER}/told.json"))
    assert len(told["ran"]) == len(asked)
    assert (told["twice"], told["left"], told["killed"], told["violations"]) == ([], [], [], [])


def test_the_secret_is_in_no_log(clouded):
    """Neither in the journal nor in what the service shows of its configuration."""
    secret = clouded.do("cat /etc/cloud-dispatcher/credentials/Containers.CloudVMs.DriverParameters.ClientSecret").strip()
    assert secret
    assert secret not in clouded.ask(f"journalctl --no-pager -u {UNIT} -o export")
