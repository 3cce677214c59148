"""``new-driver``: writes a whole plug-in package from which an author starts. It passes the contract tests as it comes."""

from __future__ import annotations

import keyword
import os
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import click

from dispatcher.driver import CONTRACT_VERSION

TEMPLATES = Path(__file__).parent / "driver_template"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_NAME = 40
NOBODY = "Your Name <you@example.invalid>"
FILES = {
    "pyproject.toml": "pyproject.toml",
    "setup.cfg": "setup.cfg",
    "README.md": "README.md",
    "cluster.yml": "cluster.yml",
    ".gitignore": "gitignore",
    "@MODULE@/__init__.py": "init.py",
    "@MODULE@/driver.py": "driver.py",
    "@MODULE@/cloud.py": "cloud.py",
    "@MODULE@/errors.py": "errors.py",
    "tests/fake_cloud.py": "fake_cloud.py",
    "tests/test_contract.py": "test_contract.py",
    "tests/test_errors.py": "test_errors.py",
    "debian/control": "debian_control",
    "debian/rules": "debian_rules",
    "debian/changelog": "debian_changelog",
    "debian/copyright": "debian_copyright",
    "debian/source/format": "debian_source_format",
}
PROGRAMS = ("debian/rules",)


@click.command()
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write it; must not exist.  [default: ./NAME-driver]")
@click.option("--maintainer", metavar="'NAME <MAIL>'", help="Of its Debian package.  [default: from DEBFULLNAME and DEBEMAIL]")
def new_driver(name: str, folder: Path | None, maintainer: str | None) -> None:
    """Write a complete driver package: installable, with its tests, a fake cloud and Debian packaging.

    NAME is what Driver: will say.
    """
    if NAME.fullmatch(name) is None or len(name) > LONGEST_NAME or keyword.iskeyword(name):
        raise click.BadParameter(f"{name!r}: small letters, digits and single hyphens, at most {LONGEST_NAME}", param_hint="NAME")
    target = folder or Path(f"{name}-driver")
    if target.exists():
        raise click.ClickException(f"{target} exists: name another place by --folder")
    for path, text in written(name, target.resolve(), maintainer or _maintainer(), datetime.now(UTC)).items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text, encoding="utf-8")
    for path in PROGRAMS:
        (target / path).chmod(0o755)
    click.echo(f"{target}: a driver for a cloud that does not exist. README.md there says how to make it yours; first try:")
    click.echo(f"  cd {target} && pip install -e . && pytest")


def written(name: str, folder: Path, maintainer: str, now: datetime) -> dict[str, str]:
    """Each file of the package by its path. ``folder`` is where they will be."""
    words = {
        "@NAME@": name,
        "@MODULE@": name.replace("-", "_") + "_driver",
        "@CLASS@": "".join(map(str.capitalize, name.split("-"))) + "Driver",
        "@CONTRACT@": ".".join(map(str, CONTRACT_VERSION)),
        "@FOLDER@": str(folder),
        "@MAINTAINER@": maintainer,
        "@DATE@": format_datetime(now),
        "@YEAR@": str(now.year),
    }
    return {_filled(path, words): _filled(_template(source), words) for path, source in FILES.items()}


def _maintainer() -> str:
    """As Debian's own tools are told it."""
    name, mail = os.environ.get("DEBFULLNAME"), os.environ.get("DEBEMAIL")
    return f"{name} <{mail}>" if name and mail else NOBODY


def _template(source: str) -> str:
    return (TEMPLATES / f"{source}.tmpl").read_text(encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text
