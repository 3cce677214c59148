"""What a machine is told of its own end: Azure's Scheduled Events, asked for on the machine itself. Pure text in both directions.

A spot machine gets at most half a minute. The first question switches the service on and may take long; it is not waited for.
"""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime

from dispatcher.driver import Notice
from drivers.azure.answers import JSON, parts, text

URL = "http://169.254.169.254/metadata/scheduledevents?api-version=2020-07-01"
COMMAND = f"curl -s -m 2 --noproxy '*' -H Metadata:true '{URL}'"
# Freeze is a pause of seconds; the others end what runs there.
ENDS = {
    "Preempt": "Azure takes this spot machine back",
    "Terminate": "Azure deletes this machine",
    "Redeploy": "Azure moves this machine, and what runs there ends",
    "Reboot": "Azure restarts this machine, and what runs there ends",
}


def parse(said: str, name: str) -> Notice | str:
    """Why this machine is about to end, and when; empty when it is not, or nothing can be understood."""
    try:
        document = json.loads(said)
    except ValueError:
        return ""
    found = [event for event in parts({"": document}, "", "Events") if _concerns(event, name)]
    return next((_notice(event) for kind in ENDS for event in found if event.get("EventType") == kind), "")


def _concerns(event: JSON, name: str) -> bool:
    resources = event.get("Resources")
    return isinstance(resources, list) and any(text(one).lower() == name.lower() for one in resources)


def _notice(event: JSON) -> Notice:
    """Without a date it has begun already, or nobody knows."""
    try:
        ends_at: float | None = parsedate_to_datetime(text(event.get("NotBefore"))).timestamp()
    except (TypeError, ValueError):
        ends_at = None
    return Notice(text=_words(event), ends_at=ends_at)


def _words(event: JSON) -> str:
    when = text(event.get("NotBefore"))
    by = f" by {text(event.get('EventSource'))}" if event.get("EventSource") else ""
    return f"{ENDS[text(event.get('EventType'))]}{by}" + (f", not before {when}" if when else "")
