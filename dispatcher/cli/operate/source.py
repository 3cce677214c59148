"""Where ``status`` and ``watch`` get the standing from: the overview of whoever leads, else health and lists."""

from __future__ import annotations

import time
from dataclasses import replace

from dispatcher.cli.operate.dispatchers import API, Dispatchers, Record, Round, failure, not_ready
from dispatcher.cli.operate.ends import NOT_ALLOWED, Ended
from dispatcher.cli.operate.overview import from_overview
from dispatcher.cli.operate.standing import OK, Standing, put_together, stopped
from dispatcher.edge.management import Answer, ManagementClient, Unreachable

OVERVIEW = "overview.json"


class Source:
    """Remembers what was told, so that an overview that has not changed is not sent again. Raises Ended for a refused token."""

    def __init__(self, dispatchers: Dispatchers) -> None:
        self._dispatchers = dispatchers
        self._known: dict[str, Answer] = {}  # place → its last overview
        self.raw: Record = {}

    def now(self) -> Standing:
        """Of the dispatcher that leads; else of one that says why none does."""
        health = self._dispatchers.ask_all("_health/ping")
        refused = [answer for _, answer in health.answers if answer.status in (401, 403)]
        if refused and len(refused) == len(health.answers):
            raise failure(health)
        leader = next((client for client, body in told(health) if body.get("health") == "OK"), None)
        asked = leader or next((client for client, _ in told(health)), None)
        if asked is None:
            return stopped(", ".join(client.place for client in self._dispatchers.clients), "; ".join(not_ready(health)))
        try:
            return self._of(asked, next(body for client, body in told(health) if client is asked))
        except Unreachable as error:
            return stopped(asked.place, str(error))

    def _of(self, client: ManagementClient, health: Record) -> Standing:
        overview = self._overview(client)
        if overview is not None:
            self.raw = overview
            return unless_ill(with_warnings(from_overview(client.place, overview, time.time()), health), health)
        instances, containers = (items(client.get(f"{API}/{what}")) for what in ("instances", "containers"))
        self.raw = {}
        return put_together(client.place, health, instances, containers, time.time())

    def _overview(self, client: ManagementClient) -> Record | None:
        """None from a dispatcher that has none."""
        last = self._known.get(client.place)
        answer = client.get(OVERVIEW, tag=last.tag if last else "")
        if answer.status == 304 and last is not None:
            return last.body
        if answer.good and answer.body is not None and "verdict" in answer.body:
            self._known[client.place] = answer
            return answer.body
        if answer.status in (401, 403):
            raise Ended(NOT_ALLOWED, f"{client.place}: {answer.error}")
        return None


def unless_ill(standing: Standing, health: Record) -> Standing:
    """A dispatcher that is not ready is never shown as well, whatever its verdict: a loop may hang that makes none."""
    if health.get("health") == "OK" or standing.exit != OK:
        return standing
    return replace(standing, level="degraded", cause="not-ready", text=f"not ready: {health.get('error')}; {standing.text}")


def with_warnings(standing: Standing, health: Record) -> Standing:
    """What health warns of and the verdict does not say: an unverified certificate, a setting that waits for a restart."""
    said = (standing.text, *standing.remarks)
    warnings = health.get("warnings")
    more = [str(each) for each in warnings if str(each) not in said] if isinstance(warnings, list) else []
    return replace(standing, remarks=[*more, *standing.remarks])


def told(health: Round) -> list[tuple[ManagementClient, Record]]:
    """Health is told also with a status that is not 200."""
    return [(client, answer.body) for client, answer in health.answers if answer.body is not None and "health" in answer.body]


def items(answer: Answer) -> list[Record]:
    found = (answer.body or {}).get("items")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
