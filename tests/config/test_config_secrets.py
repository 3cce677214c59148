"""Which texts of a configuration are secret: by their place, or by their name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from configuration import CLUSTER, read

from dispatcher.config.secrets import known_secrets


def with_parameters(tmp_path: Path, text: str) -> Any:
    loaded = read(tmp_path, CLUSTER.replace('        DeployRunnerBinary: ""\n', f'        DeployRunnerBinary: ""\n{text}'))
    assert loaded.config is not None, loaded.problems
    return loaded.config


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("ClientSecret", True), ("SecretAccessKey", True), ("AdminPassword", True), ("StorageKey", True), ("api_key", True),
        ("AccessKeyID", False), ("TagKeyPrefix", False), ("Location", False), ("TokenLifetime", False), ("KeyPairName", False),
    ],
)  # fmt: skip
def test_a_drivers_parameter_is_secret_by_its_name(tmp_path: Path, name: str, secret: bool) -> None:
    """Whatever driver it is; an ordinary word must not be blanked everywhere."""
    config = with_parameters(tmp_path, f"        DriverParameters: {{Deep: {{{name}: marked-value}}}}\n")
    assert ("marked-value" in known_secrets(config)) is secret


def test_a_password_in_the_init_command_is_secret(tmp_path: Path) -> None:
    """What is assigned to such a name alone too: a shell's error shows only a part of the line."""
    config = with_parameters(tmp_path, "        InstanceInitCommand: \"DB_PASSWORD='marked-value'; mount-all --now\"\n")
    assert {"marked-value", "DB_PASSWORD='marked-value'; mount-all --now"} <= set(known_secrets(config))


def test_tokens_and_the_private_key_are_secret(tmp_path: Path) -> None:
    """The key line by line, without the lines that every key has."""
    config = with_parameters(tmp_path, "")
    secrets = known_secrets(config)
    assert {config.api.token, config.management_token} <= set(secrets)
    lines = [line for line in config.access.private_key.splitlines() if "-----" not in line and len(line) >= 6]
    assert set(lines) <= set(secrets)
    assert not [secret for secret in secrets if "-----" in secret]


# ------------------------------------------------------------------------------------------------------- the read-only token


def told(loaded: Any) -> str:
    return "\n".join(map(str, (*loaded.problems, *loaded.warnings)))


def test_a_read_only_token_stands_there_itself(tmp_path: Path) -> None:
    """And is secret as all others are."""
    loaded = read(tmp_path, own="ReadOnlyToken: markedreadonlytoken\n")
    assert loaded.config is not None, loaded.problems
    assert loaded.config.read_only_token == "markedreadonlytoken"
    assert "markedreadonlytoken" in known_secrets(loaded.config)
    assert "markedreadonlytoken" not in repr((loaded, loaded.config, loaded.in_force))


def test_a_read_only_token_may_be_in_a_file(tmp_path: Path) -> None:
    """Without the end of its line."""
    (tmp_path / "token").write_text("markedreadonlytoken\n")
    loaded = read(tmp_path, own=f"ReadOnlyToken: file://{tmp_path}/token\n")
    assert loaded.config is not None
    assert loaded.config.read_only_token == "markedreadonlytoken"


def test_a_read_only_token_may_be_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the service manager's: it wins over what stands in our file."""
    (tmp_path / "cloud-dispatcher_ReadOnlyToken").write_text("markedreadonlytoken\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    loaded = read(tmp_path, own="ReadOnlyToken: another\n")
    assert loaded.config is not None
    assert loaded.config.read_only_token == "markedreadonlytoken"
    (shown,) = [each for each in loaded.in_force if each.path == "ReadOnlyToken"]
    assert (shown.shown, "ReadOnlyToken" in str(shown.origin)) == ("set", True)


NO_TOKENS = [
    ("file:///nowhere/token", "cannot be read"),
    ("markedmanagementtoken", "is the ManagementToken"),
    ("two words", "holds blanks"),
]


@pytest.mark.parametrize(("given", "text"), NO_TOKENS)
def test_a_read_only_token_that_cannot_be_meant(tmp_path: Path, given: str, text: str) -> None:
    """Nothing starts with it, and the mend is said."""
    loaded = read(tmp_path, own=f"ReadOnlyToken: {given}\n")
    assert loaded.config is None
    assert text in told(loaded)
    assert "marked" not in told(loaded)


def test_an_empty_file_is_no_token(tmp_path: Path) -> None:
    """It would be the same as none, in silence."""
    (tmp_path / "token").write_text("\n")
    assert "is empty" in told(read(tmp_path, own=f"ReadOnlyToken: file://{tmp_path}/token\n"))


def test_a_read_only_token_alone_opens_nothing(tmp_path: Path) -> None:
    """Without the other one everybody is refused: that is said."""
    lines = [line for line in CLUSTER.splitlines(keepends=True) if "ManagementToken" not in line]
    loaded = read(tmp_path, "".join(lines), own="ReadOnlyToken: markedreadonlytoken\n")
    assert loaded.config is not None
    assert "has no effect: without a ManagementToken" in told(loaded)
