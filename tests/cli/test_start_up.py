"""A start imports only what the configuration names: the SDK of a cloud that nobody uses would cost it half a second more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dispatcher.embedded.runner
from dispatcher.cli.run import FIRST_WORK_S, Served
from drivers.ssh_server import new_private_key

ROOT = Path(__file__).parents[2]
CLUSTER = """\
Clusters:
  zzzzz:
    SystemRootToken: v2/zzzzz-gj3su-000000000000000/secret
    Services: {{Controller: {{ExternalURL: "https://127.0.0.1:9/"}}}}
    Containers:
      DispatchPrivateKey: file://{folder}/key
      CloudVMs:
        Driver: stub
        ImageID: image
        DeployRunnerBinary: {runner}
    InstanceTypes:
      usual: {{VCPUs: 4, RAM: 8GiB, Price: 0.1}}
"""
LATER = ("asyncio", "flask", "invoke", "jinja2", "prometheus_client", "tenacity", "unittest")  # not before the first container
START = """
import json, sys
from click.testing import CliRunner
from dispatcher.cli import main
given = ["--config", sys.argv[1], "--settings", sys.argv[2]]
checked = CliRunner().invoke(main, ["check-config", *given])
assert checked.exit_code == 0, checked.output
from dispatcher.config import load
from dispatcher.runtime.daemon import build
build(load(*given[1::2], None).config)
import dispatcher.web.serve
print(json.dumps(sorted(sys.modules)))
"""


def test_a_start_without_azure_imports_nothing_of_it(tmp_path: Path) -> None:
    """Neither does check-config: both open the driver that is configured, and look at no other."""
    (tmp_path / "key").write_text(new_private_key())
    (tmp_path / "config.yml").write_text(CLUSTER.format(folder=tmp_path, runner=dispatcher.embedded.runner.__file__))
    (tmp_path / "settings.yml").write_text(f"StateFolder: {tmp_path}/state\n")
    command = [sys.executable, "-c", START, f"{tmp_path}/config.yml", f"{tmp_path}/settings.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert "drivers.stub" in loaded
    assert [name for name in loaded if name.split(".")[0] in ("azure", "msal", "msrest")] == []
    assert [name for name in loaded if name.startswith(("drivers.azure", "drivers.local"))] == []
    assert [name for name in LATER if name in loaded] == []


class Finding:
    """A daemon that is about to find out what runs."""

    def __init__(self) -> None:
        self.patience_s: list[float] = []

    def find_out(self, patience_s: float) -> None:
        self.patience_s.append(patience_s)
        raise InterruptedError("nothing of the pages is loaded yet")


def test_the_pages_wait_until_it_is_known_what_runs() -> None:
    """Their libraries take as long to load as all others, and somebody may wait for a container."""
    daemon = Finding()
    with pytest.raises(InterruptedError):
        _ = Served(daemon, None).app  # type: ignore[arg-type]
    assert daemon.patience_s == [FIRST_WORK_S]
