"""Which text of the cluster's file is in force, so that a board can show whether a change has arrived."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from dispatcher.config import reloaded
from tests.config.configuration import CLUSTER, read, with_line


def test_the_source_is_the_hash_and_the_times_of_the_file(tmp_path: Path) -> None:
    """Written when the file was, loaded after that."""
    config = read(tmp_path).config
    assert config is not None
    path = tmp_path / "config.yml"
    assert config.source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert config.source.written_s == os.stat(path).st_mtime
    assert config.source.loaded_s >= config.source.written_s


def test_a_reload_takes_the_source_of_the_new_text(tmp_path: Path) -> None:
    """Also when some of what changed waits for the next start."""
    running = read(tmp_path).config
    fresh = read(tmp_path, with_line("TimeoutIdle", "9s", CLUSTER)).config
    assert running is not None
    assert fresh is not None
    in_force, _ = reloaded(running, fresh)
    assert in_force.source == fresh.source != running.source


def test_two_readings_of_one_text_are_equal(tmp_path: Path) -> None:
    """When it was read is no part of what it says."""
    assert read(tmp_path).config == read(tmp_path).config
