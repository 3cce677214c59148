"""Acts on instances: what is meant is looked up first, shown, confirmed, and only then asked for.

A dispatcher of Arvados takes one instance at a time and knows no preview: what it would do is told from its own list.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

import click

from dispatcher.cli.operate import table
from dispatcher.cli.operate.dispatchers import Dispatchers, Found, Record, post, refused
from dispatcher.cli.operate.ends import FAILED, NOT_FOUND, USAGE, Ended, note
from dispatcher.cli.operate.instances import Chosen, is_ours, name_of, runs
from dispatcher.cli.operate.moments import actor
from dispatcher.cli.operate.options import show_json
from dispatcher.cli.operate.printed import columns, show
from dispatcher.cli.operate.table import Column
from dispatcher.cli.terminal import GREEN, YELLOW
from dispatcher.cli.words import counted
from dispatcher.edge.management import Form, ManagementClient
from dispatcher.frozen import dataclass

AT_ONCE = 400  # instances in one request, whose body is bounded
WOULD, DONE, GONE = "would be done", "done", "gone"

OUTCOMES = (
    Column(title="INSTANCE", of=lambda item: item.get("instance_name") or item.get("instance")),
    Column(title="TYPE", of=lambda item: item.get("arvados_instance_type"), drop=4),
    Column(title="STATE", of=lambda item: item.get("worker_state"), drop=2),
    Column(title="BEHAVIOR", of=lambda item: item.get("idle_behavior"), drop=3),
    Column(title="RUNS", of=lambda item: len(item.get("running_container_uuids") or ()), right=True, drop=1),
    Column(title="OUTCOME", of=lambda item: item.get("outcome"), colour=lambda text: GREEN if text == DONE else YELLOW),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """``expires``: the end of a hold or drain, or empty."""

    verb: str
    reason: str = ""
    actor: str = ""
    expires: str = ""
    dry_run: bool = False
    yes: bool = False
    as_json: bool = False


def carry_out(dispatchers: Dispatchers, chosen: Chosen, act: Act) -> None:
    """Raises Ended, also when some of it was not done."""
    found = chosen.of(dispatchers.instances())
    if not found:
        raise Ended(NOT_FOUND, "no instance matches: nothing was done")
    if act.expires and not all(is_ours(each.record) for each in found):
        raise Ended(USAGE, "a dispatcher of Arvados knows no end of a hold or drain: leave out --for and --until")
    if not act.dry_run:
        confirm(found, chosen, act)
    items = [item for client, group in _by_client(found) for item in _asked(client, group, chosen, act)]
    _show(items, act)
    if any(item["outcome"] not in (DONE, WOULD) for item in items):
        raise Ended(FAILED, f"not all was done: {_outcomes(items)}")


def _show(items: Sequence[Record], act: Act) -> None:
    if act.as_json:
        show_json({"act": act.verb, "preview": act.dry_run, "items": items})
        return
    show(table.lines(OUTCOMES, items, columns()))
    note(f"{act.verb}: {_outcomes(items)}")


def _outcomes(items: Iterable[Record]) -> str:
    numbers = Counter(str(item["outcome"]) for item in items)
    return ", ".join(f"{number} {outcome}" for outcome, number in numbers.items())


# -------------------------------------------------------------------------------------------------------------- confirming


def confirm(found: Sequence[Found], chosen: Chosen, act: Act) -> None:
    """On a terminal before a kill or more than one; elsewhere only named instances go without ``--yes``."""
    if act.yes:
        return
    if not sys.stdin.isatty():
        if chosen.selects:
            told = f"{counted(len(found), 'instance')} selected, and nobody is there to be asked"
            raise Ended(USAGE, f"{told}: look with --dry-run, then add --yes")
        return
    if act.verb == "kill" or len(found) > 1:
        show(table.lines(OUTCOMES, [item_of(each.record, WOULD) for each in found], columns()), err=True)
        if not click.confirm(question(found, act), err=True):
            raise Ended(FAILED, "nothing was done")


def question(found: Sequence[Found], act: Act) -> str:
    """What it costs, in one line."""
    lost = sum(len(runs(each.record)) for each in found)
    held = sum(each.record.get("idle_behavior") == "hold" for each in found)
    told = f"{act.verb} {counted(len(found), 'instance')}"
    if act.verb == "kill":
        told += f", with {counted(lost, 'running container')}" if lost else ", on which nothing runs"
        told += f", {held} of them held" if held else ""
    return f"{told}{f' until {act.expires}' if act.expires else ''}?"


# ------------------------------------------------------------------------------------------------------------------ asking


def _by_client(found: Sequence[Found]) -> list[tuple[ManagementClient, list[Record]]]:
    """Each dispatcher is asked for its own."""
    ordered = sorted(found, key=lambda each: each.client.place)
    return [(group[0].client, [each.record for each in group])
            for group in (list(each) for _, each in groupby(ordered, key=lambda each: each.client.place))]  # fmt: skip


def _asked(client: ManagementClient, records: Sequence[Record], chosen: Chosen, act: Act) -> list[Record]:
    ours = [record for record in records if is_ours(record)]
    theirs = [record for record in records if not is_ours(record)]
    batches = [ours[begin : begin + AT_ONCE] for begin in range(0, len(ours), AT_ONCE)]
    return [
        *(item for batch in batches for item in _asked_of_ours(client, batch, chosen, act)),
        *(_asked_of_arvados(client, record, act) for record in theirs),
    ]


def _asked_of_ours(client: ManagementClient, batch: Sequence[Record], chosen: Chosen, act: Act) -> list[Record]:
    """By name and selector: what no longer matches when its turn comes is left alone."""
    form = [("instance_id", name_of(record)) for record in batch]
    form += [("instance_type", each) for each in chosen.types] + [("state", each) for each in chosen.states]
    form += [("idle_behavior", each) for each in chosen.behaviours]
    form += [("expires", act.expires)] if act.expires else []
    form += [("preview", "true")] if act.dry_run else []
    answer = post(client, f"instances/{act.verb}", [*form, *spoken(act)])
    if answer.good and answer.body is not None:
        return list(answer.body.get("items") or ())
    if answer.status == 404:  # some of them went meanwhile, and nothing was done
        if len(batch) == 1:
            return [item_of(batch[0], GONE)]
        return [item for record in batch for item in _asked_of_ours(client, [record], chosen, act)]
    raise refused(client, answer)


def _asked_of_arvados(client: ManagementClient, record: Record, act: Act) -> Record:
    if act.dry_run:
        return item_of(record, WOULD)
    form = [("instance_id", str(record.get("instance"))), ("reason", spoken(act)[0][1])]
    answer = post(client, f"instances/{act.verb}", form)
    if answer.status in (401, 403):
        raise refused(client, answer)
    return item_of(record, DONE if answer.good else GONE if answer.status == 404 else f"refused: {answer.error}")


def spoken(act: Act) -> Form:
    """Why and who."""
    return [("reason", act.reason), ("actor", act.actor or actor())]


def item_of(record: Record, outcome: str) -> Record:
    """As the management API tells of an instance that was acted on."""
    return {
        "instance": record.get("instance") or "",
        "instance_name": name_of(record),
        "arvados_instance_type": record.get("arvados_instance_type"),
        "worker_state": record.get("worker_state"),
        "idle_behavior": record.get("idle_behavior"),
        "held": record.get("idle_behavior") == "hold",
        "running_container_uuids": runs(record),
        "outcome": outcome,
    }
