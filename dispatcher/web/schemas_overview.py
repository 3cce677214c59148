"""What ``/overview.json`` and the refreshes of the page look like, in the words of JSON Schema.

The tests hold every answer against it, both ways: what is not told of may not be there, what is required has to be.
"""

from __future__ import annotations

from dispatcher.web.schemas import FLAG, NUMBER, TEXT, WHEN, WHOLE, Schema, many, one_of, or_null, thing

COUNTS: Schema = {"type": "object", "additionalProperties": WHOLE}
HTML_BY_KEY: Schema = {"type": "object", "additionalProperties": TEXT}
LEVEL = one_of("ok", "busy", "limited", "degraded", "stopped")

FACTOR = thing(cause=TEXT, text=TEXT, level=LEVEL, containers=WHOLE, since=WHEN)
VERDICT = thing("The one thing that limits, and all that was found.", level=LEVEL, cause=TEXT, text=TEXT, factors=many(FACTOR))
STEP = thing(step=TEXT, meaning=TEXT, count=WHOLE, oldest_since=WHEN, oldest=TEXT)
FUNNEL = thing("Where containers stand.", steps=many(STEP), unread=WHOLE, unwanted=WHOLE)
WAITING = thing("Those who wait for the same.", cause=TEXT, text=TEXT, count=WHOLE, oldest_since=WHEN, containers=many(TEXT))
CHOICE = thing("Who chose the behaviour.", actor=TEXT, reason=TEXT, since=WHEN, until=WHEN)
CELL = thing(
    "An instance. since: when something last changed.",
    name=TEXT, id=TEXT, type=TEXT, state=TEXT, behavior=TEXT, since=WHEN, appeared=WHEN, probed=WHEN, price=NUMBER,
    vcpus=or_null(WHOLE), vcpus_taken=WHOLE, containers=many(TEXT), container_count=WHOLE, problem=TEXT, choice=CHOICE,
)  # fmt: skip
FLEET = thing(
    "shown: all instances of a small fleet (whole), else those that have not changed for longest.",
    count=WHOLE, whole=FLAG, shown=many(CELL),
    groups=many(thing(type=TEXT, state=TEXT, behavior=TEXT, count=WHOLE, price=NUMBER)),
)  # fmt: skip
CALL = thing(
    "A kind of call. per_second: the limit in force, source: who set it; left, limit, usage: what the cloud said.",
    call=TEXT, ended_ok=WHOLE, failed=COUNTS, per_second=or_null(NUMBER), source=TEXT, left=or_null(NUMBER),
    limit=or_null(NUMBER), usage=or_null(NUMBER),
)  # fmt: skip
HOLDOFF = thing(call=TEXT, about=TEXT, kind=TEXT, reason=TEXT, since=WHEN, until=WHEN, strikes=WHOLE)
QUEUE = thing(polled=WHEN, error=TEXT, locks_at_once=WHOLE, overloaded=WHEN)
CLOUD = thing(calls=many(CALL), holdoffs=many(HOLDOFF), listed=WHEN, error=TEXT, alarm=TEXT, queue=QUEUE)
MONEY = thing(
    "In the unit of Price; a day is one of UTC.",
    per_hour=NUMBER, today=NUMBER, expected_today=NUMBER, limit_per_hour=or_null(NUMBER), limit_per_day=or_null(NUMBER),
    idle_per_hour=NUMBER, kept_per_hour=NUMBER, idle_share=NUMBER,
)  # fmt: skip
SUSPECT = thing(kind=TEXT, text=TEXT, since=WHEN, instance=TEXT, container=TEXT)
DECISION = thing(number=WHOLE, at=WHEN, level=TEXT, kind=TEXT, text=TEXT, container=TEXT, instance=TEXT)
SETTING = thing(key=TEXT, value=TEXT, origin=TEXT)

ROWS = thing(
    "order: only when it is another one.", optional={"order": many(TEXT)}, changed={**HTML_BY_KEY, "description": "Key: HTML."}
)

OVERVIEW_SCHEMAS: dict[str, Schema] = {
    "Overview": thing(
        "All that the operator's page shows.",
        version=TEXT, at=WHEN, cluster=TEXT, verdict=VERDICT, funnel=FUNNEL, waiting=many(WAITING), fleet=FLEET, cloud=CLOUD,
        money=MONEY, suspects=many(SUSPECT), decisions=many(DECISION), settings=many(SETTING),
    ),
    "Changes": thing(
        "What a page lacks, as HTML by part and by row.",
        tag=TEXT, at=WHEN, level=LEVEL, parts=HTML_BY_KEY, rows={"type": "object", "additionalProperties": ROWS},
    ),
}  # fmt: skip
