"""``run``: what it says before anything starts."""

from __future__ import annotations

import gc

from click.testing import CliRunner

from dispatcher.cli import main
from tests.cli.test_check_config import real_key
from tests.config.configuration import CLUSTER, KEY


def test_an_audit_log_that_cannot_be_written_stops_the_start(tmp_path):
    """A site that asked for one must not run without it; the message names the key and what is wrong."""
    text = CLUSTER.replace("here.example.org", "127.0.0.1").replace(KEY, real_key())
    (tmp_path / "config.yml").write_text(text, encoding="utf-8")
    (tmp_path / "settings.yml").write_text(f"AuditLog: {tmp_path}/nowhere/audit.jsonl\n", encoding="utf-8")
    arguments = ["run", "--config", f"{tmp_path}/config.yml", "--settings", f"{tmp_path}/settings.yml"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 78
    assert "AuditLog: its folder does not exist" in result.output


def test_what_a_restart_would_not_mend_ends_with_a_status_of_its_own(tmp_path):
    """The service manager takes 78 as a word not to try again; everything that is wrong is told, the driver's parameters too."""
    text = CLUSTER.replace("here.example.org", "127.0.0.1").replace(KEY, real_key())
    text = text.replace("Driver: stub", "Driver: local").replace("# more", "DriverParameters: {Quta: 1}")
    (tmp_path / "config.yml").write_text(text, encoding="utf-8")
    (tmp_path / "settings.yml").write_text("")
    result = CliRunner().invoke(main, ["run", "--config", f"{tmp_path}/config.yml", "--settings", f"{tmp_path}/settings.yml"])
    assert result.exit_code == 78
    assert "DriverParameters.Quta: the local driver does not know this" in result.output


def test_without_a_configuration_nothing_starts(tmp_path):
    """One line says which file is missing. Whoever ran this in a process of its own gets its collector of garbage back."""
    result = CliRunner().invoke(main, ["run", "--config", f"{tmp_path}/none.yml"])
    assert result.exit_code == 78
    assert gc.isenabled()
    assert f"{tmp_path}/none.yml: cannot be read: No such file or directory" in result.output
