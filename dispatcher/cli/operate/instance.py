"""``cloud-dispatcher instance``: what instances there are, and what operators may do to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from dispatcher.cli.operate import instances, table
from dispatcher.cli.operate.acts import Act, carry_out
from dispatcher.cli.operate.dispatchers import Dispatchers, Found, Record
from dispatcher.cli.operate.ends import NOT_FOUND, Ended
from dispatcher.cli.operate.instances import BEHAVIOURS, STATES, Chosen
from dispatcher.cli.operate.moments import end_of
from dispatcher.cli.operate.options import AS_JSON, documented, placed, show_json
from dispatcher.cli.operate.printed import columns, on_terminal, show
from dispatcher.cli.words import counted

SELECTORS = (
    click.option("--type", "types", multiple=True, metavar="TYPE", help="Those of this instance type; may be repeated."),
    click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Those in this state; may be repeated."),
    click.option("--behavior", "behaviours", multiple=True, type=click.Choice(BEHAVIOURS), help="Those of this behavior."),
)


@click.group()
def instance() -> None:
    """Show instances, and hold, drain, release or kill them.

    \b
      cloud-dispatcher instance list --state idle
      cloud-dispatcher instance drain --type Standard_D4 --reason 'new image'
    """


def selectors(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(SELECTORS):
        command = option(command)
    return command


# ----------------------------------------------------------------------------------------------------------------- looking


@instance.command("list", short_help="All, or those that are selected.")
@selectors
@click.option("--header", "-header", is_flag=True, help="With a line of headings above the plain lines.")
@click.option("--format", "form", type=click.Choice(["table", "upstream", "json"]),
              help="A table for people; plain lines as Arvados's command prints them; or JSON.  [default: a table on a "
                   "terminal, else upstream]")  # fmt: skip
@AS_JSON
@placed
@documented("""
List instances: all, or those that are selected.

\b
  cloud-dispatcher instance list
  cloud-dispatcher instance list --state idle --type Standard_D4
  cloud-dispatcher instance list | cut -f1,3

Plain lines have tabs between: instance, address, state, idle-behavior, config-type, provider-type, price, running-containers.
""")
def list_instances(
    dispatchers: Dispatchers, types: tuple[str, ...], states: tuple[str, ...], behaviours: tuple[str, ...], header: bool,
    form: str | None, as_json: bool,
) -> None:  # fmt: skip
    chosen = Chosen(types=types, states=states, behaviours=behaviours, everything=not (types or states or behaviours))
    found = dispatchers.instances()
    records = [each.record for each in (found if chosen.everything else chosen.of(found))]
    if as_json or form == "json":
        show_json({"items": records})
    elif form == "upstream" or (form is None and (header or not on_terminal())):
        show_plain(records, header=header)
    else:
        show(table.lines(instances.columns(time.time()), records, columns()))
        click.echo(f"{counted(len(records), 'instance')}, {sum(map(instances.price, records)):g} per hour", err=True)


def show_plain(records: Sequence[Record], *, header: bool) -> None:
    for line in (["\t".join(instances.UPSTREAM)] if header else []) + [instances.upstream_line(each) for each in records]:
        click.echo(line)


@instance.command("show", short_help="All about one.")
@click.argument("name")
@AS_JSON
@placed
@documented("""
Show all that is known about the instance NAME: our name of it, or the cloud's id.

\b
  cloud-dispatcher instance show compute-1a2b3c
""")
def show_instance(dispatchers: Dispatchers, name: str, as_json: bool) -> None:
    record = only(Chosen(names=(name,)), dispatchers).record
    if as_json:
        show_json(record)
    else:
        show(table.pairs(instances.facts(record, time.time())))


def only(chosen: Chosen, dispatchers: Dispatchers) -> Found:
    found = chosen.of(dispatchers.instances())
    if not found:
        raise Ended(NOT_FOUND, f"no such instance: {', '.join(chosen.names)}")
    return found[0]


# ------------------------------------------------------------------------------------------------------------------ acting


def acting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of all four acts."""
    for option in reversed((
        click.argument("names", nargs=-1, metavar="[INSTANCE]..."),
        *SELECTORS,
        click.option("--all", "everything", is_flag=True, help="All that do not shut down."),
        click.option("--reason", "-reason", default="", metavar="TEXT", help="Why: for the log, the audit log, and colleagues."),
        click.option("--actor", default="", metavar="WHO", help="Who asks.  [default: user@host]"),
        click.option("--dry-run", is_flag=True, help="Only show what would be done."),
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
        AS_JSON,
    )):  # fmt: skip
        command = option(command)
    return command


ENDING = (
    click.option("--for", "lasts", metavar="DURATION", help="How long, like 90s, 2h, 1d12h; then it goes back to run."),
    click.option("--until", metavar="TIME", help="Until then, like 18:30, 2027-01-15T08:00, or with a zone; the local one else."),
)


def ending(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(ENDING):
        command = option(command)
    return command


def done_by(verb: str, given: dict[str, Any]) -> None:
    """One of the four acts, with what the options say."""
    dispatchers, lasts, until = given.pop("dispatchers"), given.pop("lasts", None), given.pop("until", None)
    chosen = Chosen(**{name: given.pop(name) for name in ("names", "types", "states", "behaviours", "everything")})
    chosen.check()
    carry_out(dispatchers, chosen, Act(verb=verb, expires=end_of(lasts, until, time.time()), **given))


CHOICE = """
Name instances by our name or the cloud's id, or select them: values of one selector are alternatives, different ones all have to
match. What shuts down is meant only when it is named. On a terminal it is asked before more than one is touched{asked};
elsewhere a selection needs --yes."""


@instance.command("hold", short_help="No new work, and not destroyed.")
@acting
@ending
@placed
@documented(f"""
Hold instances: they get no new work, and are destroyed by nobody but an operator.

\b
  cloud-dispatcher instance hold compute-1a2b3c --for 2h --reason 'looking at its disk'
{CHOICE.format(asked="")}
""")
def hold(**given: Any) -> None:
    done_by("hold", given)


@instance.command("drain", short_help="No new work, and destroyed when empty.")
@acting
@ending
@placed
@documented(f"""
Drain instances: they get no new work, and are destroyed when what runs there has ended.

\b
  cloud-dispatcher instance drain --type Standard_D4 --reason 'new image' --dry-run
{CHOICE.format(asked="")}
""")
def drain(**given: Any) -> None:
    done_by("drain", given)


@instance.command("run", short_help="Back to work: ends a hold or drain.")
@acting
@placed
@documented(f"""
Release instances: they go back to work. It takes a hold or a drain back.

\b
  cloud-dispatcher instance run --behavior hold
{CHOICE.format(asked="")}
""")
def run(**given: Any) -> None:
    done_by("run", given)


@instance.command("kill", short_help="Destroyed now, with what runs there.")
@acting
@placed
@documented(f"""
Kill instances: they are destroyed now, WITH WHAT RUNS THERE, also when they are held.

\b
  cloud-dispatcher instance kill compute-1a2b3c --reason 'it hangs'
  cloud-dispatcher instance kill --type Standard_D4 --state idle --yes
{CHOICE.format(asked=", and before any kill")}
""")
def kill(**given: Any) -> None:
    done_by("kill", given)
