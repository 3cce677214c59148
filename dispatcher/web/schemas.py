"""What the answers of the management API look like, in the words of JSON Schema; the tests hold every answer against it.

Every key that is always there is required. Nothing here is looked at while the service runs.
"""

from __future__ import annotations

from typing import Any

from dispatcher.core.model import ContainerState, IdleBehavior
from dispatcher.web.selection import STATES

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "format": "int64"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
NOTHING: Schema = {"type": "null", "description": "A record of Arvados has it, and the dispatcher does not ask for it."}
TIME: Schema = {"type": "string", "format": "date-time", "description": "UTC, RFC 3339; 0001-01-01T00:00:00Z when it never was."}
WHEN: Schema = {"type": "string", "description": "UTC, RFC 3339; empty when there is none."}
NUMBER_OR_WORD: Schema = {
    "oneOf": [NUMBER, {"type": "string", "enum": ["NaN", "+Inf", "-Inf"]}], "description": "JSON has no word for the infinities.",
}  # fmt: skip


def one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def many(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def thing(description: str = "", optional: dict[str, Schema] | None = None, **properties: Schema) -> Schema:
    """An object with these keys, all of them always there but the ``optional`` ones."""
    made: Schema = {"type": "object", "properties": {**properties, **(optional or {})}, "required": list(properties)}
    return {"description": description, **made} if description else made


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}]}


GPU = thing(Stack=TEXT, DriverVersion=TEXT, HardwareTarget=TEXT, DeviceCount=WHOLE, VRAM=WHOLE)

INSTANCE_TYPE = thing(
    "A row of InstanceTypes; sizes in bytes, the price by the hour.",
    ProviderType=TEXT, VCPUs=WHOLE, RAM=WHOLE, IncludedScratch=WHOLE, AddedScratch=WHOLE, Price=NUMBER, Preemptible=FLAG, GPU=GPU,
)  # fmt: skip

CONSTRAINTS = thing(
    optional={"image_id": TEXT},
    API=FLAG, ram=WHOLE, vcpus=WHOLE, keep_cache_ram=WHOLE, keep_cache_disk=WHOLE,
    gpu=thing(stack=TEXT, driver_version=TEXT, hardware_target=many(TEXT), device_count=WHOLE, vram=WHOLE),
)  # fmt: skip

RECORD = thing(
    "The container as the queue service has it, as far as the dispatcher asks for it.",
    uuid=TEXT, created_at=TIME, container_image=TEXT, locked_by_uuid=TEXT, lock_count=WHOLE,
    priority={**WHOLE, "description": "Up to 1.1e18: more than a floating point number holds exactly."},
    state=one_of(*(state.value for state in ContainerState)), gateway_address=TEXT, runtime_constraints=CONSTRAINTS,
    scheduling_parameters=thing(partitions=many(TEXT), preemptible=FLAG, max_run_time=WHOLE, supervisor=FLAG),
    etag=TEXT, modified_by_user_uuid=TEXT, modified_at=TIME, cwd=TEXT, output=TEXT, output_path=TEXT, log=TEXT, exit_code=WHOLE,
    runtime_user_uuid=TEXT, runtime_token={**TEXT, "const": ""}, auth_uuid=TEXT, cost=NUMBER, subrequests_cost=NUMBER,
    service=FLAG, interactive_session_started=FLAG, command=NOTHING, environment=NOTHING, mounts=NOTHING, output_glob=NOTHING,
    runtime_status=NOTHING, started_at=NOTHING, finished_at=NOTHING, output_storage_classes=NOTHING, runtime_auth_scopes=NOTHING,
    published_ports=NOTHING,
)  # fmt: skip

WHY = thing(
    "Why it waits: the cause is a stable word; each change was tried, and gives it a place.",
    waits_for=TEXT, cause=TEXT, since=TIME,
    considered={
        **many(thing(type=TEXT, price=NUMBER, why_not={**TEXT, "description": "Empty for the one that was chosen."})),
        "description": "Every configured instance type, cheapest first.",
    },
    changes=many(
        thing(
            "Something that would let it begin. The value is what the key has to become; of a time, when.",
            text=TEXT, key=TEXT, value={"description": "A number, a text, a truth, an object of numbers, or null."},
            kind=one_of("settings", "container", "instance", "quota", "cloud", "queue", "leader", "time"),
        )
    ),
)  # fmt: skip

CONTAINER = thing(
    "A container, and what is known about its placing.",
    optional={"why": or_null(ref("Why"))},
    container=RECORD,
    instance_resources=thing("What it takes of an instance.", VCPUs=WHOLE, RAM=WHOLE, Scratch=WHOLE, GPUs=WHOLE, GPUVRAM=WHOLE),
    instance_types={**many(ref("InstanceType")), "description": "Those that can run it, cheapest first."},
    instance_type=or_null(ref("InstanceType")), first_seen_at=TIME, last_error=TEXT,
    scheduling_status={**TEXT, "description": "What it waits for; empty when it waits for nothing."},
)  # fmt: skip

BEHAVIOR = one_of(*(behavior.value for behavior in IdleBehavior))
STATE = one_of(*STATES)
UUIDS = many(TEXT)

INSTANCE = thing(
    instance={**TEXT, "description": "The cloud's id; empty until it has accepted the instance."},
    address=TEXT, price=NUMBER, arvados_instance_type=TEXT, provider_instance_type=TEXT, last_container_uuid=TEXT, last_busy=TIME,
    running_container_uuids=UUIDS, worker_state=STATE, idle_behavior=BEHAVIOR,
    instance_name={**TEXT, "description": "Our own name; it is understood wherever an id is."},
    idle_behavior_actor=TEXT, idle_behavior_reason=TEXT, idle_behavior_since=WHEN, idle_behavior_until=WHEN,
    condemned={**TEXT, "description": "Why it gets no more work, for a reason of ours; or empty."},
    kill_requested={**TEXT, "description": "Why an operator killed it; or empty."},
)  # fmt: skip

ITEM = thing(
    "An instance as the act found it.",
    instance=TEXT, instance_name=TEXT, arvados_instance_type=TEXT, worker_state=STATE, idle_behavior=BEHAVIOR, held=FLAG,
    running_container_uuids=UUIDS, outcome=one_of("done", "would be done", "gone", "changed meanwhile, left alone"),
)  # fmt: skip

ACT = thing(act=one_of("hold", "drain", "run", "kill"), preview=FLAG, until=WHEN, items=many(ref("ActedOn")))
CONTAINER_KILL = thing(act=one_of("kill"), preview=FLAG, container_uuid=TEXT, items=many(ref("ActedOn")))

HEALTH = thing(
    optional={"error": TEXT, "warnings": many(TEXT)},
    health=one_of("OK", "ERROR"),
    loops={"type": "object", "additionalProperties": thing("A loop's last sign of life.", age_s=NUMBER, late=FLAG)},
)

SUMMARY = thing(sample_count=NUMBER_OR_WORD, sample_sum=NUMBER_OR_WORD, quantile=many(thing(quantile=TEXT, value=NUMBER_OR_WORD)))
HISTOGRAM = thing(
    sample_count=NUMBER_OR_WORD, sample_sum=NUMBER_OR_WORD, bucket=many(thing(le=TEXT, cumulative_count=NUMBER_OR_WORD)),
)  # fmt: skip
VALUE = thing(value=NUMBER_OR_WORD)
FAMILY = thing(
    name=TEXT, help=TEXT, type=one_of("GAUGE", "COUNTER", "SUMMARY", "HISTOGRAM", "GAUGEHISTOGRAM", "UNKNOWN", "UNTYPED"),
    metric=many(
        thing(
            optional={"summary": SUMMARY, "histogram": HISTOGRAM, "gauge": VALUE, "counter": VALUE, "untyped": VALUE},
            label=many(thing(name=TEXT, value=TEXT)),
        )
    ),
)  # fmt: skip

ACTIVE = thing(RequestID=TEXT, remoteAddr=TEXT, reqMethod=TEXT, reqPath=TEXT, reqQuery=TEXT, elapsed_s=NUMBER)

SCHEMAS: dict[str, Schema] = {
    "Why": WHY,
    "Container": CONTAINER,
    "Containers": thing(items=many(ref("Container"))),
    "Instance": INSTANCE,
    "Instances": thing(items=many(ref("Instance"))),
    "InstanceType": INSTANCE_TYPE,
    "ActedOn": ITEM,
    "Act": ACT,
    "ContainerKill": CONTAINER_KILL,
    "Health": HEALTH,
    "Metrics": many(FAMILY),
    "Requests": many(ACTIVE),
    "Errors": thing(errors=many(TEXT)),
}
