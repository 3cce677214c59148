"""``run``: what it says before anything starts."""

from __future__ import annotations

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
    assert result.exit_code == 1
    assert f"AuditLog: {tmp_path}/nowhere/audit.jsonl cannot be written: No such file or directory" in result.output
