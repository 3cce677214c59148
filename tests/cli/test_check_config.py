"""The command line: the group, ``drivers`` and ``check-config`` with its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from importlib.metadata import EntryPoint

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dispatcher.cli import COMMANDS, main
from dispatcher.cli.check_config import judge, printable
from dispatcher.cli.drivers import driver_problem
from dispatcher.config import Config, Loaded
from dispatcher.edge.cloud_discovery import find_entries
from tests.config.configuration import CLUSTER, KEY, TOKEN, read, with_line


def run(*arguments: str):
    return CliRunner().invoke(main, arguments, prog_name="cloud-dispatcher")


@cache
def real_key() -> str:
    """A private key as it stands in a YAML file, between quotes."""
    made = ed25519.Ed25519PrivateKey.generate()
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return pem.replace("\n", "\\n")


def check(folder, cluster: str, *arguments: str, own: str = ""):
    """Standard output and standard error together. The key is a real one, and every host has the address to listen on."""
    text = cluster.replace("here.example.org", "127.0.0.1").replace(KEY, real_key())
    (folder / "config.yml").write_text(text, encoding="utf-8")
    (folder / "settings.yml").write_text(own, encoding="utf-8")
    return run("check-config", "--config", f"{folder}/config.yml", "--settings", f"{folder}/settings.yml", *arguments)


# ------------------------------------------------------------------------------------------------------------------ group


def test_help_names_every_command():
    """Each with a line of help."""
    result = run("--help")
    assert result.exit_code == 0
    unfolded = " ".join(result.output.split())
    assert all(name in unfolded and row.help in unfolded for name, row in COMMANDS.items())


def test_help_imports_no_command():
    """It answers at once: the rooms behind the commands stay closed."""
    code = "import sys; from dispatcher.cli import main; main(['--help'], standalone_mode=False); print(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name for name in result.stdout.split() if name.startswith(("dispatcher.", "drivers.", "yaml", "flask", "paramiko"))}
    light = {"dispatcher.cli.output", "dispatcher.cli.words", "dispatcher.cli.operate", "dispatcher.cli.operate.ends"}
    assert loaded == {"dispatcher.cli", *light}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_had(name):
    """The table points at real commands."""
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: cloud-dispatcher {name}")


def test_version():
    """Name and version."""
    assert run("--version").output.startswith("cloud-dispatcher ")


def test_unknown_command():
    """A usage error."""
    assert run("dance").exit_code == 2


def test_drivers_are_listed():
    """With the package that brought each."""
    lines = run("drivers").output.splitlines()
    assert any(line.split() == ["stub", "cloud-dispatcher", line.split()[2], "drivers.stub:open"] for line in lines)


# ----------------------------------------------------------------------------------------------------------- check-config


def test_a_good_configuration(tmp_path):
    """Every value with its origin; exit 0."""
    result = check(tmp_path, with_line("TimeoutIdle", "90s"), own="TimeoutKILL: 7s\n")
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in result.output.splitlines() if "  " in line}
    assert rows["Containers.CloudVMs.TimeoutIdle"] == ["1m30s", f"{tmp_path}/config.yml:18"]
    assert rows["Containers.CloudVMs.TimeoutBooting"] == ["10m", "default"]
    assert rows["Containers.CloudVMs.PollInterval"] == ["chosen", "by", "us"]
    assert rows["TimeoutKILL"] == ["7s", f"{tmp_path}/settings.yml:1"]
    assert rows["SystemRootToken"] == ["set", f"{tmp_path}/config.yml:3"]
    assert "the configuration can be used" in result.output


def test_warnings_are_no_failure(tmp_path):
    """Told, counted, exit 0."""
    result = check(tmp_path, with_line("Zebra", "1"))
    assert result.exit_code == 0
    assert "warning: " in result.output
    assert "can be used, 1 to look at" in result.output


def test_problems_are_exit_1(tmp_path):
    """All of them, at the end, counted."""
    result = check(tmp_path, with_line("TimeoutIdle", "5", with_line("MaxInstances", "x")), own="TimeoutKILL: 5\n")
    assert result.exit_code == 1
    assert result.output.count("error: ") == 3
    assert "cannot be used: 3 to mend" in result.output


def test_unreadable_is_exit_2(tmp_path):
    """Like a wrong call."""
    assert run("check-config", "--config", str(tmp_path / "none.yml")).exit_code == 2
    assert run("check-config", "--colour").exit_code == 2


def test_cluster_is_chosen(tmp_path):
    """--cluster reaches the reading."""
    text = CLUSTER + "  yyyyy: {}\n"
    assert check(tmp_path, text).exit_code == 1
    assert check(tmp_path, text, "--cluster", "zzzzz").exit_code == 0


def test_json(tmp_path):
    """One object with everything, also when something is wrong."""
    result = check(tmp_path, with_line("TimeoutIdle", "5"), "--json")
    told = json.loads(result.output)
    assert (result.exit_code, told["exit"]) == (1, 1)
    assert told["problems"][0]["path"] == "Clusters.zzzzz.Containers.CloudVMs.TimeoutIdle"
    assert told["problems"][0]["line"] == 18
    shown = {each["path"]: each for each in told["in_force"]}
    assert shown["SystemRootToken"]["value"] == "set"
    assert shown["Containers.CloudVMs.TimeoutProbe"]["source"] == "default"


DRIVERS = [
    (CLUSTER.replace("Driver: stub", "Driver: stubb"), "CloudVMs.Driver: no driver 'stubb' is installed"),
    (with_line("DriverParameters", "{Zebra: markedsecret}"), "config.yml:18: Clusters.zzzzz.Containers.CloudVMs.Driver"),
]


@pytest.mark.parametrize(("text", "words"), DRIVERS)
def test_the_driver_is_asked_too(tmp_path, text, words):
    """An absent driver and a wrong parameter are problems with a place, like any other."""
    result = check(tmp_path, text)
    assert result.exit_code == 1
    assert words in result.output
    assert "markedsecret" not in result.output


def test_a_key_that_cannot_be_used(tmp_path):
    """It looks like one, and the place is told."""
    result = check(tmp_path, CLUSTER.replace("BEGIN OPENSSH", "BEGIN RSA"))
    assert result.exit_code == 1
    assert "config.yml:14: Clusters.zzzzz.Containers.DispatchPrivateKey: not a private key" in result.output


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("APICertificateFile: {folder}/none.pem", "APICertificateFile: cannot be read as certificates in PEM form: No such file"),
        ("APICertificateFile: {folder}/config.yml", "APICertificateFile: cannot be read as certificates in PEM form: "),
        ("AuditLog: {folder}", "AuditLog: is a folder"),
        ("AuditLog: {folder}/none/audit.log", "AuditLog: its folder does not exist"),
    ],
)
def test_a_file_without_which_the_dispatcher_would_not_start_is_wrong(tmp_path, line, text):
    """Regression: the configuration could be used, and then the start failed."""
    result = check(tmp_path, CLUSTER, own=line.format(folder=tmp_path) + "\n")
    assert result.exit_code == 1
    assert f"settings.yml:1: {text}" in result.output


@pytest.mark.parametrize("arguments", [(), ("--json",)])
@pytest.mark.parametrize(
    "text",
    [
        CLUSTER,
        with_line("InstanceInitCommand", "echo markedsecret"),
        with_line("DriverParameters", "{Seed: markedsecret}"),
        CLUSTER.replace(TOKEN, "'marked token'"),
        CLUSTER.replace(TOKEN, "*marked"),
    ],
)
def test_no_secret_is_printed(tmp_path, text, arguments):
    """Neither of a good file nor of a wrong one."""
    output = check(tmp_path, text, *arguments).output
    assert "marked" not in output
    assert not any(part in output for part in real_key().split("\\n") if part and not part.startswith("-----"))


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    """A file may hold anything, also in its names."""
    assert printable("a\x1b[31mb\nc") == "a\ufffd[31mb\ufffdc"
    result = check(tmp_path, with_line('"Ze\\ebra"', "1", with_line("ResourceTags", '{"a\\eb": x}')))
    assert "Ze\ufffdbra" in result.output
    assert "\x1b" not in result.output


def open_loudly(settings):
    """The entry point of a driver that tells its parameters to everybody."""
    raise RuntimeError(str(settings.parameters))


def test_a_drivers_crash_prints_nothing(tmp_path, capfd):
    """A foreign traceback may hold a secret: only the kind of the error is told."""
    entries = find_entries([EntryPoint("stub", f"{__name__}:open_loudly", "dispatcher.drivers")])
    loaded = read(tmp_path, with_line("DriverParameters", "{Password: markedsecret}"))
    problem = driver_problem(loaded, loaded.config, entries)
    assert "RuntimeError" in problem.text
    assert "markedsecret" not in f"{problem}{capfd.readouterr()}"


def test_the_driver_is_not_asked_about_a_wrong_file(tmp_path):
    """First the rest has to be right."""
    loaded: Loaded = read(tmp_path, with_line("TimeoutIdle", "5", CLUSTER.replace("Driver: stub", "Driver: none")))
    assert len(judge(loaded).problems) == 1


def test_every_entry_is_listed():
    """The list is that of the edge, which starts them."""
    assert len(run("drivers").output.splitlines()) == len(find_entries())


def test_what_check_config_reads_is_what_the_daemon_gets(tmp_path):
    """There is one reading."""
    assert isinstance(read(tmp_path).config, Config)
