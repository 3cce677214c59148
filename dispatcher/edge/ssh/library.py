"""Loads paramiko without the command runner that its reader of ssh_config would like to have: that reader is not used here.

The runner takes a sixth of what all our imports take. Whoever asks for it later gets it.
"""

from __future__ import annotations

import sys
from typing import Any

UNUSED = "invoke"


def load() -> None:
    """The library says itself what it does without: ``invoke`` is optional to it."""
    if UNUSED in sys.modules:
        import paramiko

        return
    closed: dict[str, Any] = {UNUSED: None}  # how an import is told that there is no such module
    sys.modules.update(closed)
    try:
        import paramiko  # noqa: F401
    finally:
        del sys.modules[UNUSED]


load()
