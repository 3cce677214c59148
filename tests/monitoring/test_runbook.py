"""docs/operations.md holds at 3 a.m.: every alert has its section, every command in it can be typed, every link leads on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from dispatcher.cli import main
from tests.monitoring.prometheus import ROOT, rules

DOCS = ROOT / "docs"
PAGES = ("operations.md", "commands.md", "service.md", "cloudtest.md")
COMMAND = re.compile(r"(?m)^cloud-dispatcher .+|(?<=`)cloud-dispatcher [^`\n]+(?=`)")
LINK = re.compile(r"\]\(([\w./-]*\.md)?(#[\w-]+)?\)")
LINES_READ_AT_NIGHT = 200


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def anchors(page: str) -> set[str]:
    """As they are made from headings."""
    titles = re.findall(r"(?m)^#+ (.+)$", text(page))
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for found in COMMAND.findall(text(page)):
            yield page, found.partition("#")[0].partition("|")[0].strip()


@pytest.mark.parametrize("alert", rules())
def test_every_alert_has_its_section(alert: str) -> None:
    """Its runbook leads there, and there stands what to do."""
    page, _, anchor = rules()[alert]["annotations"]["runbook"].partition("#")
    assert page == "operations.md"
    assert f"#{anchor}" in anchors(page)
    section = text(page).partition(f"### {alert}\n")[2].partition("\n#")[0]
    assert len(section) > 40


def test_no_section_is_about_an_alert_that_is_gone() -> None:
    """Nobody looks for the cure of what does not exist."""
    assert set(re.findall(r"(?m)^### (CloudDispatcher\w+)$", text("operations.md"))) == set(rules())


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_every_command_can_be_typed_as_it_stands(page: str, command: str) -> None:
    """With its subcommand and options."""
    words = shlex.split(command, comments=True)[1:]
    found: click.Command = main
    while isinstance(found, click.Group) and words and not words[0].startswith("-") and words[0] != "…":
        context = click.Context(found)
        known = found.get_command(context, words[0])
        assert known is not None, f"{page}: {command}"
        found, words = known, words[1:]
    options = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    used = {word.partition("=")[0].strip("[],.") for word in words if word.startswith("-")}
    assert used <= options, f"{page}: {command}"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """To a page that is there, and to a heading of it."""
    for target, anchor in LINK.findall(text(page)):
        assert (DOCS / (target or page)).exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(target or page), f"{page}: {target}{anchor}"


def test_the_page_for_the_night_is_short() -> None:
    """Who is woken up reads no book."""
    assert len(text("operations.md").splitlines()) <= LINES_READ_AT_NIGHT
