"""Moves what was installed for pip to where the Debian packages want it, and adds what pip does not install.

The code lies in a private folder, since its names are too general for everybody's; each driver that is a package of its own gets
metadata of its own, so that it is found exactly when it is installed.
"""

from __future__ import annotations

import configparser
import hashlib
import re
import shutil
import sys
import zipfile
from pathlib import Path

PRIVATE = "usr/share/cloud-dispatcher"
NOT_INSTALLED = ("RECORD", "INSTALLER", "direct_url.json", "top_level.txt", "licenses", "LICENSE")  # pip's, or in doc already
DRIVERS = {"azure": "cloud-dispatcher-driver-azure"}
HERE = Path(__file__).resolve().parent
GROUP = "dispatcher.drivers"


def arrange(root: Path) -> None:
    """``root`` is the folder into which pip's way was installed."""
    private = root / PRIVATE
    private.mkdir(parents=True)
    for found in root.glob("usr/lib/python3*/dist-packages/*"):
        found.rename(private / found.name)
    shutil.rmtree(root / "usr/lib")
    shutil.rmtree(root / "usr/bin")
    metadata = next(private.glob("cloud_dispatcher-*.dist-info"))
    for name in NOT_INSTALLED:
        _remove(metadata / name)
    for driver, package in DRIVERS.items():
        split(private, metadata, driver, package)
        unpack(HERE / "carried" / f"{driver}.txt", HERE.parent / "wheels", private / "drivers" / driver / "carried")
    monitoring = HERE.parent / "docs/monitoring"
    if monitoring.is_dir():
        shutil.copytree(monitoring, private / "monitoring")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def split(private: Path, metadata: Path, driver: str, package: str) -> None:
    """Take the driver's entry point out of the main package's metadata and make some that are its own."""
    points = configparser.ConfigParser(delimiters=("=",))
    points.optionxform = str  # type: ignore[assignment,method-assign]
    points.read(metadata / "entry_points.txt")
    target = points.get(GROUP, driver)
    points.remove_option(GROUP, driver)
    with (metadata / "entry_points.txt").open("w") as file:
        points.write(file)
    version = metadata.name.removesuffix(".dist-info").rpartition("-")[2]
    own = private / f"{package.replace('-', '_')}-{version}.dist-info"
    own.mkdir()
    (own / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (own / "entry_points.txt").write_text(f"[{GROUP}]\n{driver} = {target}\n")


def unpack(pins: Path, wheels: Path, folder: Path) -> None:
    """The wheels that ``pins`` names, each proved by its hash; their licences stay beside their metadata."""
    for name, version, digest in re.findall(r"^([\w.-]+)==(\S+) --hash=sha256:(\w+)$", pins.read_text(), re.MULTILINE):
        wheel = wheels / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{wheel} is not what {pins} names: remove it and fetch it again (make deb)")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        for left in (*folder.glob("*.dist-info/RECORD"), *folder.glob("*.dist-info/top_level.txt")):
            left.unlink()
    for part in folder.rglob("*"):
        part.chmod(0o755 if part.is_dir() else 0o644)


if __name__ == "__main__":
    arrange(Path(sys.argv[1]))
