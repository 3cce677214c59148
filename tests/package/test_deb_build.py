"""The packages as files: they build in a clean tree, lintian has nothing against them, and everything is where it belongs."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.package.bases import bare, in_chroot, run
from tests.package.machine import install, layer
from tests.sources import ROOT

pytestmark = [pytest.mark.deb, pytest.mark.timeout(3000)]

BELONGS = (
    "./usr/bin/cloud-dispatcher",
    "./usr/share/cloud-dispatcher/dispatcher/cli/run.py",
    "./usr/share/man/man1/cloud-dispatcher.1.gz",
    "./usr/share/man/man1/cloud-dispatcher-setup.1.gz",
    "./usr/share/bash-completion/completions/cloud-dispatcher",
    "./usr/share/zsh/vendor-completions/_cloud-dispatcher",
    "./usr/share/doc/cloud-dispatcher/examples/nginx-site.conf",
    "./usr/share/doc/cloud-dispatcher/install.md",
    "./usr/lib/sysusers.d/cloud-dispatcher.conf",
    "./etc/logrotate.d/cloud-dispatcher",
    "./etc/cloud-dispatcher/credentials/",
)


def test_lintian_has_nothing_against_them(built):
    """No error and no warning, by the lintian of the suite itself."""
    said = (built / "lintian").read_text()
    assert not re.findall(r"^[EW]: .*$", said, re.MULTILINE)


def test_everything_is_where_it_belongs(package):
    """Pages, completion, examples, and no module by a general name where other programs would find it."""
    there = {line.split()[5] for line in run(["dpkg-deb", "--contents", str(package)]).splitlines()}
    assert [path for path in BELONGS if path not in there] == []
    assert not [path for path in there if "dist-packages" in path or "drivers/azure" in path or "/carried/" in path]


def test_who_built_them_answers_for_them(built):
    """The address of the sources leads nowhere; whoever builds gives one of their own."""
    for deb in built.glob("*.deb"):
        assert run(["dpkg-deb", "--field", str(deb), "Maintainer"]).strip() == "A. Site & Co <packages@example.org>"
    assert "packages@example.org" in next(built.glob("*.changes")).read_text()


def test_the_driver_asks_for_no_sdk_of_debian(built):
    """It carries its own: Debian's is one package of 600 MB, and too old."""
    driver = next(built.glob("cloud-dispatcher-driver-azure_*_all.deb"))
    depends = run(["dpkg-deb", "--field", str(driver), "Depends"])
    assert "python3-isodate" in depends
    assert not re.search(r"azure(?!-)|python3-azure|msal", depends)


def test_it_is_installed_where_there_was_no_python(suite, package):
    """All that it needs comes from Debian; commands answer, and completion knows them."""
    with layer(bare(suite)) as tree:
        install(tree, package)
        assert "setup" in in_chroot(tree, "cloud-dispatcher --help")
        assert "cloud-dispatcher" in in_chroot(tree, "cloud-dispatcher --version")
        complete = "COMP_WORDS='cloud-dispatcher check-' COMP_CWORD=1 _CLOUD_DISPATCHER_COMPLETE=bash_complete cloud-dispatcher"
        assert "check-config" in in_chroot(tree, complete)
        assert not re.search(r"^azure ", in_chroot(tree, "cloud-dispatcher drivers"), re.MULTILINE)
        shutil.copy(ROOT / "debian/tests/workload", tree / "root/workload")
        assert "Complete" in in_chroot(tree, "cd /root; sh ./workload", timeout_s=600)
