"""Checks the shape of what a driver answers and declares. Pure: values in, values or ``BadAnswer`` out.

What can be used is used; what cannot is left out with a warning. A list from which something was left out proves no absence.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dispatcher.core.failures import is_number, tidy_text
from dispatcher.driver import (
    Capabilities,
    CloudError,
    Created,
    HostKey,
    Instance,
    InstanceType,
    Leftover,
    Listing,
    Presence,
    Price,
    RateLimits,
    TypeFacts,
    Usage,
)

Warn = Callable[[str], None]
LEAST_PERIOD_S = 10.0  # tables change by the day; whoever asks more often has mistaken the unit

_ADDRESS = re.compile(r"(?:[^\s:\[\]/]+|\[[0-9A-Fa-f:.%\w]+\])(?::\d{1,5})?|[0-9A-Fa-f:.]+(?:%\w+)?")

_METHODS = {
    "poll_create": "poll_create",
    "host_keys": "host_keys",
    "delete_leftover": "delete_leftover",
    "notices": "parse_notice",
    "quota_groups": "quota_group",
    "prices": "prices",
    "type_facts": "type_facts",
}


class BadAnswer(Exception):
    """The answer has not the shape that the contract promises."""


# ---------------------------------------------------------------------------------------------------------------- answers


def checked_created(answer: object) -> Created:
    if not isinstance(answer, Created):
        raise BadAnswer(f"create must return Created, not {_kind(answer)}")
    if not _is_text(answer.id):
        raise BadAnswer(f"Created.id must be a text that is not empty, not {answer.id!r}")
    if answer.operation is not None and not _is_text(answer.operation):
        raise BadAnswer(f"Created.operation must be a text or None, not {_kind(answer.operation)}")
    return answer


def checked_listing(answer: object, warn: Warn) -> Listing:
    """The listing with what could be understood of it."""
    if not isinstance(answer, Listing):
        raise BadAnswer(f"list must return Listing, not {_kind(answer)}")
    if not isinstance(answer.complete, bool):
        raise BadAnswer(f"Listing.complete must be True or False, not {_kind(answer.complete)}")
    given = _as_tuple(answer.instances, "Listing.instances")
    understood = [checked_instance(instance, warn) for instance in given]
    instances = {instance.id: instance for instance in reversed(understood) if instance is not None}
    if len(instances) < len([instance for instance in understood if instance is not None]):
        warn("list: an instance id is listed twice; the first is taken")
    leftovers = _as_tuple(answer.leftovers, "Listing.leftovers")
    return Listing(
        instances=tuple(reversed(instances.values())),
        leftovers=tuple(leftover for leftover in leftovers if isinstance(leftover, Leftover) and _is_text(leftover.id)),
        complete=answer.complete and None not in understood,
        usages=tuple(usage for usage in _as_tuple(answer.usages, "Listing.usages") if _is_usage(usage)),
    )


def _is_usage(usage: object) -> bool:
    if not isinstance(usage, Usage) or not isinstance(usage.group, str):
        return False
    return is_number(usage.used) and is_number(usage.limit)


def checked_instance(instance: object, warn: Warn) -> Instance | None:
    """None when nobody can say which instance it is or whose."""
    if not isinstance(instance, Instance):
        warn(f"list: an instance must be an Instance, not {_kind(instance)}; it is left out")
        return None
    if not _is_text(instance.id):
        warn(f"list: Instance.id must be a text that is not empty, not {instance.id!r}; it is left out")
        return None
    if not _are_tags(instance.tags):
        warn(f"list: the tags of {instance.id} must map texts to texts; it is left out")
        return None
    return _mended(instance, warn)


def _mended(instance: Instance, warn: Warn) -> Instance:
    """Replace what is wrong about an instance that we know to be there by "not known"."""
    changes: dict[str, Any] = {}
    if not _is_text(instance.name):
        changes["name"] = instance.id
    if instance.address is not None and not is_address(instance.address):
        warn(f"list: address {instance.address!r} of {instance.id} is not host, host:port or [v6]:port")
        changes["address"] = None
    if instance.failure is not None and not isinstance(instance.failure, CloudError):
        changes["failure"] = CloudError(str(instance.failure))
    if not isinstance(instance.state, Presence):
        changes["state"] = _presence(instance.state, instance.id, warn)
    if not _is_text(instance.user):
        changes["user"] = "root"
    if not isinstance(instance.provider_type, str):
        changes["provider_type"] = str(instance.provider_type)
    if not _are_host_keys(instance.host_keys):
        warn(f"list: the host keys of {instance.id} must be a tuple of HostKey; they are ignored")
        changes["host_keys"] = ()
    return replace(instance, **changes) if changes else instance


def _presence(state: object, instance_id: str, warn: Warn) -> Presence:
    try:
        return Presence(str(state))
    except ValueError:
        warn(f"list: state {state!r} of {instance_id} is none of {', '.join(Presence)}; taken for present")
        return Presence.PRESENT


def is_address(address: object) -> bool:
    """``host``, ``host:port``, ``[v6]:port`` or a bare v6 address."""
    return isinstance(address, str) and _ADDRESS.fullmatch(address) is not None


def _are_host_keys(keys: object) -> bool:
    return isinstance(keys, tuple) and all(_is_host_key(key) for key in keys)


def _is_host_key(key: object) -> bool:
    return isinstance(key, HostKey) and _is_text(key.type) and _is_text(key.base64)


def checked_host_keys(answer: object) -> tuple[HostKey, ...]:
    keys = _as_tuple(answer, "the answer of host_keys")
    for key in keys:
        if not _is_host_key(key):
            raise BadAnswer(f"host_keys must return HostKey values, not {_kind(key)}")
    return keys


def checked_prices(answer: object, types: Sequence[InstanceType]) -> tuple[Price, ...]:
    """Of the types that were asked about, each once; what is no price is left out: it decides little."""
    prices = {price.name: price for price in _as_tuple(answer, "the answer of prices") if _is_price(price)}
    found = [prices[offer.name] for offer in types if offer.name in prices]
    return tuple(replace(price, currency=tidy_text(str(price.currency))) for price in found)


def _is_price(price: object) -> bool:
    return isinstance(price, Price) and isinstance(price.name, str) and is_number(price.per_hour) and price.per_hour >= 0


def checked_facts(answer: object, types: Sequence[InstanceType]) -> tuple[TypeFacts, ...]:
    """Of the types that were asked about, each once. Raises BadAnswer for facts of the wrong kind: some of them forbid."""
    facts: dict[str, TypeFacts] = {}
    for fact in _as_tuple(answer, "the answer of type_facts"):
        if not isinstance(fact, TypeFacts) or not all(isinstance(getattr(fact, name), str) for name in _FACT_TEXTS):
            raise BadAnswer(f"type_facts must return TypeFacts whose texts are texts, not {fact!r:.200}")
        facts[fact.name] = fact
    return tuple(_tidy_facts(facts[offer.name]) for offer in types if offer.name in facts)


_FACT_TEXTS = ("name", "unavailable", "warning", "quota_group")


def _tidy_facts(fact: TypeFacts) -> TypeFacts:
    return replace(
        fact, unavailable=tidy_text(fact.unavailable), warning=tidy_text(fact.warning),
        vcpus=fact.vcpus if is_number(fact.vcpus) else None, ram_bytes=fact.ram_bytes if is_number(fact.ram_bytes) else None,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- capabilities


def checked_capabilities(driver: object, warn: Warn) -> Capabilities:
    """What a driver declares: a Capabilities, a mapping of names to values, an iterable of names, or nothing."""
    declared = getattr(driver, "capabilities", None)
    if declared is None:
        return Capabilities()
    values = _declared_values(declared, warn)
    known = {field.name: field.default for field in dataclasses.fields(Capabilities)}
    for name in [name for name in values if name not in known]:
        warn(f"capability {name!r} is not known (known: {', '.join(known)}); it is ignored")
    good = {name: value for name, value in values.items() if name in known and _is_good(name, value, warn)}
    for name in [name for name, method in _METHODS.items() if good.get(name) and not callable(getattr(driver, method, None))]:
        warn(f"capability {name!r} is declared and there is no method {_METHODS[name]}; it is ignored")
        del good[name]
    return Capabilities(**good)


def _declared_values(declared: object, warn: Warn) -> dict[str, Any]:
    if isinstance(declared, Capabilities):
        return {field.name: getattr(declared, field.name) for field in dataclasses.fields(declared)}
    if isinstance(declared, Mapping):
        return {str(name): _limits(value) if name == "limits" else value for name, value in declared.items()}
    if isinstance(declared, str):
        return {declared: True}
    if isinstance(declared, Iterable):
        return {str(name): True for name in declared}
    warn(f"capabilities must be Capabilities, a mapping or names, not {_kind(declared)}; none are used")
    return {}


def _limits(value: object) -> object:
    known = {field.name for field in dataclasses.fields(RateLimits)}
    if isinstance(value, Mapping) and set(value) <= known:
        return RateLimits(**value)
    return value


def _is_good(name: str, value: object, warn: Warn) -> bool:
    """Whether a declared value is of the right kind; if not, the default holds."""
    if name == "limits":
        good = isinstance(value, RateLimits)
    elif name in ("prices_period_s", "types_period_s"):
        good = isinstance(value, int | float) and is_number(value) and value >= LEAST_PERIOD_S
    elif name in ("list_lag_s", "leftover_age_s"):
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    else:
        good = isinstance(value, bool)
    if not good:
        warn(f"capability {name!r} cannot be {value!r}; the default is used")
    return good


# ---------------------------------------------------------------------------------------------------------------- helpers


def _kind(value: object) -> str:
    return type(value).__name__


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _are_tags(tags: object) -> bool:
    return isinstance(tags, Mapping) and all(isinstance(text, str) for pair in tags.items() for text in pair)


def _as_tuple(values: object, what: str) -> tuple[Any, ...]:
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise BadAnswer(f"{what} must be a tuple, not {_kind(values)}")
    return tuple(values)
