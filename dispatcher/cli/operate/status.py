"""``cloud-dispatcher status``: is it healthy, and if not, what is in the way. It ends as a check of Nagios does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from dispatcher.cli.operate import printed
from dispatcher.cli.operate.dispatchers import Dispatchers
from dispatcher.cli.operate.ends import Ended
from dispatcher.cli.operate.options import AS_JSON, documented, placed, show_json
from dispatcher.cli.operate.source import Source
from dispatcher.cli.operate.standing import UNKNOWN, WORDS, Standing
from dispatcher.cli.output import writing
from dispatcher.cli.terminal import BOLD, DIM, GREEN, RED, YELLOW, Line, Span, line
from dispatcher.cli.words import printable, span

LEVEL_COLOURS = {"ok": GREEN, "busy": GREEN, "limited": YELLOW, "degraded": YELLOW, "stopped": RED}
MOST_GROUPS, MOST_REMARKS = 8, 8

ENDS = """\b
Exit status, as monitoring plug-ins have it:
  0  ok, or busy
  1  limited or degraded: it works, and something is in its way
  2  stopped: nothing is dispatched, or no dispatcher answers
  3  not known: called wrongly, no token, or a token that is not accepted"""


class Check(click.Command):
    """Whatever keeps it from asking ends with UNKNOWN: the usual 2 for a wrong option would read as an outage."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **options)
        except click.UsageError as error:
            error.exit_code = UNKNOWN  # type: ignore[misc]
            raise

    def invoke(self, context: click.Context) -> Any:
        try:
            with writing():
                return super().invoke(context)
        except Ended as ended:
            ended.exit_code = UNKNOWN  # type: ignore[misc]
            raise


@click.command(cls=Check)
@click.option("--check", is_flag=True, help="One line, with numbers for a monitoring system.")
@AS_JSON
@placed
@documented("""
Say whether the dispatcher is healthy, and what limits it.

\b
  cloud-dispatcher status
  cloud-dispatcher status --check --url http://dispatcher:9006 --token-file /etc/nagios/dispatcher.token
""", ENDS)
def status(dispatchers: Dispatchers, check: bool, as_json: bool) -> None:
    source = Source(dispatchers)
    standing = source.now()
    if as_json:
        show_json(as_object(standing, source.raw))
    elif check:
        click.echo(check_line(standing))
    else:
        printed.show(lines(standing))
    click.get_current_context().exit(standing.exit)


def as_object(standing: Standing, overview: dict[str, Any]) -> dict[str, Any]:
    """What every dispatcher can tell, and the whole overview of one that has it."""
    return {
        "level": standing.level, "cause": standing.cause, "text": standing.text, "exit": standing.exit, "place": standing.place,
        "waiting": standing.waiting, "instances": standing.instances(), "price_per_hour": standing.price,
        "steps": [{"name": step.name, "count": step.count, "oldest_s": step.oldest_s} for step in standing.steps],
        "groups": [{"text": group.text, "count": group.count, "oldest_s": group.oldest_s} for group in standing.groups],
        "remarks": list(standing.remarks), **({"overview": overview} if overview else {}),
    }  # fmt: skip


def check_line(standing: Standing) -> str:
    """In the form of monitoring plug-ins: word, text, numbers. A bar in a text would begin the numbers."""
    numbers = {"waiting": standing.waiting, "instances": sum(standing.instances().values()), "price": f"{standing.price:g}"}
    text = printable(standing.text).replace("|", "/")
    return f"{WORDS[standing.exit]}: {text} | " + " ".join(f"{name}={value}" for name, value in numbers.items())


def lines(standing: Standing) -> list[Line]:
    """The verdict first, then what leads to it."""
    word = Span(standing.level.upper(), f"{BOLD};{LEVEL_COLOURS.get(standing.level, YELLOW)}")
    return [line(word, f": {printable(standing.text)}"), *facts(standing)]


def facts(standing: Standing) -> Iterable[Line]:
    told = [f"{step.count} {step.name}{_oldest(step.oldest_s)}" for step in standing.steps if step.count]
    if standing.steps:
        yield named("containers", ", ".join(told) or "none")
    instances = standing.instances()
    if standing.steps or instances:
        counted = ", ".join(f"{number} {printable(state)}" for state, number in instances.items())
        yield named("instances", counted or "none")
        yield named("price", f"{standing.price:g} per hour{', ' + standing.money if standing.money else ''}")
    for group in standing.groups[:MOST_GROUPS]:
        yield named("waiting", f"{group.count}{_oldest(group.oldest_s)}: {printable(group.text)}")
    if len(standing.groups) > MOST_GROUPS:
        more = len(standing.groups) - MOST_GROUPS
        yield named("waiting", f"... and for {more} more reasons: cloud-dispatcher container list --waiting")
    for remark in standing.remarks[:MOST_REMARKS]:
        yield named("note", printable(remark))
    yield named("told by", standing.place)


def named(name: str, text: str) -> Line:
    return line(Span(f"{name:<11} ", DIM), text)


def _oldest(age_s: float | None) -> str:
    return f" ({span(age_s)})" if age_s else ""
