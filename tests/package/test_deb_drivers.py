"""Drivers as packages of their own: the one that carries its SDK, one of somebody else, and one that is broken."""

from __future__ import annotations

import re
import textwrap

import pytest

from tests.package.bases import bootable, building, in_chroot, run
from tests.package.machine import install, layer

pytestmark = [pytest.mark.deb, pytest.mark.timeout(1200)]

CONTROL = """\
Package: {name}
Version: 1.0
Architecture: all
Maintainer: Somebody else <somebody@example.org>
Depends: cloud-dispatcher
Description: a driver of somebody else
"""
WORKING = """\
from dispatcher.driver import Listing

DRIVER_CONTRACT = "1.0"


class Acme:
    def list(self, call):
        return Listing(instances=(), leftovers=(), complete=True)


def open(settings):
    return Acme()
"""
OPENS_AZURE = """\
import logging, sys
sys.path.insert(0, "/usr/share/cloud-dispatcher")
from dispatcher.driver import DriverSettings
from drivers.azure import open
given = {"SubscriptionID": "00000000-0000-0000-0000-000000000001", "TenantID": "00000000-0000-0000-0000-000000000002",
    "ClientID": "00000000-0000-0000-0000-000000000003", "ClientSecret": "secret", "ResourceGroup": "group",
    "Network": "network", "Subnet": "subnet"}
log = logging.getLogger()
open(DriverSettings(parameters=given, instance_set_id="zzzzz-zzzzz-zzzzzzzzzzzzzzz", tag_prefix="Arvados", log=log))
import azure.core, azure.identity, azure.mgmt.compute, isodate, msal, requests, typing_extensions
for module in (azure.core, azure.identity, azure.mgmt.compute, isodate, msal, requests, typing_extensions):
    print(module.__name__, module.__file__)
"""


@pytest.fixture(scope="module")
def tree(suite, package, built):
    """A machine that was not booted, with both packages."""
    with layer(bootable(suite)) as made:
        install(made, package, next(built.glob("cloud-dispatcher-driver-azure_*_all.deb")))
        yield made


def third_party(tree, name, module, text):
    """A package in dist-packages, as every Python package of Debian."""
    folder = tree / "root" / name
    place = folder / "usr/lib/python3/dist-packages"
    metadata = place / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "DEBIAN").mkdir()
    (folder / "DEBIAN/control").write_text(CONTROL.format(name=name))
    (place / f"{module}.py").write_text(text)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[dispatcher.drivers]\n{module} = {module}:open\n")
    file = tree / f"root/{name}.deb"
    run(["dpkg-deb", "--root-owner-group", "--build", str(folder), str(file)])
    in_chroot(tree, f"dpkg --install /root/{name}.deb")


def test_the_azure_driver_finds_the_sdk_that_it_carries(tree):
    """Nothing is fetched; what Debian has in a sufficient version is Debian's, the rest is carried."""
    (tree / "root/opens.py").write_text(textwrap.dedent(OPENS_AZURE))
    found = dict(line.split() for line in in_chroot(tree, "python3 /root/opens.py").splitlines())
    carried = "/usr/share/cloud-dispatcher/drivers/azure/carried/"
    assert {name for name, file in found.items() if file.startswith(carried)} == {
        *("azure.core", "azure.identity", "azure.mgmt.compute", "msal", "typing_extensions"),
    }
    assert found["isodate"].startswith("/usr/lib/python3/dist-packages/")


def test_nobody_else_sees_what_a_driver_carries(tree):
    """Neither other programs nor a dispatcher with another driver."""
    ours = "import sys; sys.path.insert(0, '/usr/share/cloud-dispatcher'); import dispatcher.driver"
    for code in ("import azure.core", f"{ours}, msal"):
        assert "No module" in in_chroot(tree, f'python3 -c "{code}" 2>&1 || true')


def test_a_driver_of_somebody_else_is_found_and_a_broken_one_does_no_harm(tree):
    """Listed with its package; the broken one says why it cannot be used, and the others are usable."""
    third_party(tree, "acme-dispatcher-driver", "acme", WORKING)
    third_party(tree, "broken-dispatcher-driver", "broken", "import a_module_that_is_nowhere\n")
    said = in_chroot(tree, "cloud-dispatcher drivers")
    assert re.search(r"^acme +acme-dispatcher-driver 1.0 +acme:open$", said, re.MULTILINE)
    assert re.search(r"^azure +cloud-dispatcher-driver-azure \S+ +drivers.azure:open$", said, re.MULTILINE)
    assert re.search(r"^broken .*UNUSABLE: .*a_module_that_is_nowhere", said, re.MULTILINE)


def test_what_new_driver_writes_becomes_a_package(suite, package, tree):
    """By the documented command, its own tests included, in a tree with the dispatcher; installed elsewhere, it is found."""
    with layer(building(suite)) as made:
        install(made, package)
        in_chroot(made, "cd /root; cloud-dispatcher new-driver acme2 --maintainer 'Somebody <somebody@example.org>'")
        in_chroot(made, "cd /root/acme2-driver; dpkg-buildpackage --build=binary --no-sign")
        said = in_chroot(made, "cd /root; lintian --allow-root *.changes || true")
        assert not re.findall(r"^E: .*$", said, re.MULTILINE)
        install(tree, next((made / "root").glob("cloud-dispatcher-driver-acme2_*_all.deb")))
    listed = in_chroot(tree, "cloud-dispatcher drivers")
    assert re.search(r"^acme2 +cloud-dispatcher-driver-acme2 \S+ +\S+:open$", listed, re.MULTILINE), listed


def test_a_driver_that_was_removed_is_no_longer_known(tree):
    """Its metadata goes with it: nobody is told of a driver that is not there."""
    in_chroot(tree, "dpkg --remove cloud-dispatcher-driver-azure")
    assert not re.search(r"^azure", in_chroot(tree, "cloud-dispatcher drivers"), re.MULTILINE)
