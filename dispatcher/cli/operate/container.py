"""``cloud-dispatcher container``: what is queued and what runs, why something waits, and ending what runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click

from dispatcher.cli.operate import containers, table
from dispatcher.cli.operate.acts import DONE, GONE, WOULD
from dispatcher.cli.operate.containers import STATES, state_of, uuid_of, waits
from dispatcher.cli.operate.dispatchers import Dispatchers, Found, Record, post, refused
from dispatcher.cli.operate.ends import FAILED, NOT_FOUND, Ended, note
from dispatcher.cli.operate.instances import name_of, runs
from dispatcher.cli.operate.moments import actor as this_user
from dispatcher.cli.operate.options import AS_JSON, documented, placed, show_json
from dispatcher.cli.operate.printed import columns, show
from dispatcher.cli.operate.reasons import reasons
from dispatcher.cli.operate.table import Column
from dispatcher.cli.words import counted

OUTCOMES = (
    Column(title="CONTAINER", of=lambda item: item["container_uuid"]),
    Column(title="INSTANCE", of=lambda item: item["instance_name"] or "-", drop=1),
    Column(title="OUTCOME", of=lambda item: item["outcome"]),
)


@click.group()
def container() -> None:
    """Show containers, why they wait, and kill those that run.

    \b
      cloud-dispatcher container list --waiting
      cloud-dispatcher container why zzzzz-dz642-000000000000001
    """


@container.command("list", short_help="Those that the dispatcher knows.")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES, case_sensitive=False), help="Those in this state.")
@click.option("--waiting", is_flag=True, help="Those that are wanted and on no instance yet.")
@click.option("--instance", "on", metavar="INSTANCE", help="Those on this instance.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N, as they are served.")
@AS_JSON
@placed
@documented("""
List the containers that the dispatcher knows, in the order in which they are served.

\b
  cloud-dispatcher container list --waiting --limit 20
  cloud-dispatcher container list --instance compute-1a2b3c --json
""")
def list_containers(
    dispatchers: Dispatchers, states: tuple[str, ...], waiting: bool, on: str | None, limit: int | None, as_json: bool
) -> None:
    everything = [found.record for found in dispatchers.containers()]
    instances = [found.record for found in dispatchers.instances()]
    places = containers.where(instances)
    if on is not None:
        names = {name_of(each) for each in instances if on in (name_of(each), each.get("instance"))}
        if not names:
            raise Ended(NOT_FOUND, f"no such instance: {on}")
    chosen = [
        entry for entry in everything
        if (not states or state_of(entry) in states)
        and (not waiting or waits(entry, places))
        and (on is None or places.get(uuid_of(entry)) in names)
    ]  # fmt: skip
    shown = chosen[:limit]
    if as_json:
        show_json({"items": shown})
        return
    show(table.lines(containers.columns(places, time.time()), shown, columns()))
    more = f" of {len(chosen)}" if len(chosen) > len(shown) else ""
    click.echo(f"{counted(len(shown), 'container')}{more}", err=True)


@container.command("show", short_help="All about one.")
@click.argument("uuid")
@AS_JSON
@placed
@documented("""
Show all that the dispatcher knows about a container.

\b
  cloud-dispatcher container show zzzzz-dz642-000000000000001
""")
def show_container(dispatchers: Dispatchers, uuid: str, as_json: bool) -> None:
    entry = known(dispatchers, uuid)
    if as_json:
        show_json(entry)
        return
    places = containers.where(found.record for found in dispatchers.instances())
    show(table.pairs(containers.facts(entry, places.get(uuid, ""), time.time())))


def known(dispatchers: Dispatchers, uuid: str) -> Record:
    found = dispatchers.container(uuid)
    if found is None:
        raise Ended(NOT_FOUND, f"no dispatcher knows the container {uuid}: it has ended, is not wanted (priority 0), or waits "
                               "further behind than was read")  # fmt: skip
    return found.record


@container.command("why", short_help="Why it waits, and what would have to change.")
@click.argument("uuid")
@AS_JSON
@placed
@documented("""
Say why a container waits: for what, since when, which instance types were considered, and what would have to change.

\b
  cloud-dispatcher container why zzzzz-dz642-000000000000001

Arvados's dispatcher knows only what it waits for.
""")
def why(dispatchers: Dispatchers, uuid: str, as_json: bool) -> None:
    entry = known(dispatchers, uuid)
    if as_json:
        show_json({"container_uuid": uuid, "scheduling_status": entry.get("scheduling_status"), "why": entry.get("why")})
    else:
        show(reasons(entry, columns(), time.time()))


@container.command("kill", short_help="End some that run.")
@click.argument("uuids", nargs=-1, required=True, metavar="UUID...")
@click.option("--reason", default="", metavar="TEXT", help="Why: for the log and whoever asked for the container.")
@click.option("--actor", default="", metavar="WHO", help="Who asks.  [default: user@host]")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@AS_JSON
@placed
@documented("""
End containers that run. What only waits is ended by whoever asked for it: priority 0 for its request.

\b
  cloud-dispatcher container kill zzzzz-dz642-000000000000001 --reason 'it loops'
""")
def kill(
    dispatchers: Dispatchers, uuids: tuple[str, ...], reason: str, actor: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    places = {uuid: found for found in dispatchers.instances() for uuid in runs(found.record)}
    lost = [uuid for uuid in uuids if uuid not in places]
    if lost:
        raise Ended(NOT_FOUND, f"on no instance, nothing was done: {', '.join(lost)}")
    if not (dry_run or yes) and sys.stdin.isatty() and not click.confirm(f"kill {_named(uuids)}?", err=True):
        raise Ended(FAILED, "nothing was done")
    said = [("reason", reason), ("actor", actor or this_user())]
    items = [killed(uuid, places[uuid], said, dry_run=dry_run) for uuid in uuids]
    if as_json:
        show_json({"act": "kill", "preview": dry_run, "items": items})
    else:
        show(table.lines(OUTCOMES, items, columns()))
    if any(item["outcome"] not in (DONE, WOULD) for item in items):
        raise Ended(FAILED, "not all was done")


def _named(uuids: Sequence[str]) -> str:
    return f"the container {uuids[0]}" if len(uuids) == 1 else counted(len(uuids), "container")


def killed(uuid: str, place: Found, said: Sequence[tuple[str, str]], *, dry_run: bool) -> Record:
    """A preview is answered from what is known: Arvados's dispatcher would take it for the act."""
    outcome = WOULD
    if not dry_run:
        answer = post(place.client, "containers/kill", [("container_uuid", uuid), *said])
        if not answer.good and answer.status != 404:
            raise refused(place.client, answer)
        outcome = DONE if answer.good else GONE
        if outcome == GONE:
            note(f"{uuid} ended meanwhile")
    return {"container_uuid": uuid, "instance_name": name_of(place.record), "outcome": outcome}
