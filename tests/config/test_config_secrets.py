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
