"""The processes of this host as tests look at them. Any may end while it is looked at: then it shows nothing."""

from __future__ import annotations

import os
from pathlib import Path


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def proc_file(pid: int, name: str) -> bytes:
    """What ``/proc`` says of a process in the file ``name``; empty when it has ended or is none of ours."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def children(pid: int) -> list[int]:
    """Those of all its threads."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(child) for thread in threads for child in proc_file(pid, f"task/{thread}/children").split()]


def below(pid: int) -> list[int]:
    """Its children and theirs, the youngest generation first."""
    return [one for child in children(pid) for one in (*below(child), child)]


def told_by_all(*names: str) -> str:
    """What every process of this host shows in files such as ``cmdline`` and ``environ``, as far as we may look."""
    found = (proc_file(pid, name) for pid in pids() for name in names)
    return "\n".join(text.decode(errors="replace") for text in found)
