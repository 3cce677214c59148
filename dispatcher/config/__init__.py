"""Configuration: the cluster's own YAML file and our optional one become one frozen Config, or a list of all that is wrong.

``load`` is the entrance; ``keys.py`` holds the one table from which reading, checking, showing and the documentation follow.
"""

from dispatcher.config.load import DEFAULT_CONFIG, DEFAULT_SETTINGS, load, load_cloud_part
from dispatcher.config.machine import Machine
from dispatcher.config.management import load_management_part
from dispatcher.config.model import (
    API,
    Access,
    CloudPart,
    Config,
    DriverChoice,
    Listen,
    Loaded,
    Logs,
    ManagementPart,
    PostgreSQL,
    Runner,
    StatePlaces,
)
from dispatcher.config.problems import InForce, Origin, Problem, Severity, Source
from dispatcher.config.reference import configuration_page
from dispatcher.config.reload import reloaded, waits_for_start
from dispatcher.config.secrets import known_secrets

__all__ = [
    "API",
    "DEFAULT_CONFIG",
    "DEFAULT_SETTINGS",
    "Access",
    "CloudPart",
    "Config",
    "DriverChoice",
    "InForce",
    "Listen",
    "Loaded",
    "Logs",
    "Machine",
    "ManagementPart",
    "Origin",
    "PostgreSQL",
    "Problem",
    "Runner",
    "Severity",
    "Source",
    "StatePlaces",
    "configuration_page",
    "known_secrets",
    "load",
    "load_cloud_part",
    "load_management_part",
    "reloaded",
    "waits_for_start",
]
