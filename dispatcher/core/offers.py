"""The values of the catalogue: what the cloud says of the configured instance types, and when it was last asked.

A part of State, kept by itself; everybody imports it from ``model``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import field

from dispatcher.core.paces import NEVER
from dispatcher.driver import Price, TypeFacts
from dispatcher.frozen import dataclass


class CataloguePart(enum.StrEnum):
    """What a driver is asked for, each with a period of its own; the value is the kind of call for pace and hold-offs."""

    PRICES = "prices"
    TYPES = "types"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How one part stands. ``told_s``: when it was last told for the types that are configured now."""

    asking: bool = False
    told_s: float = NEVER
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Instance type → what the cloud said last. What it never named is not there."""

    prices: Mapping[str, Price] = field(default_factory=dict)
    facts: Mapping[str, TypeFacts] = field(default_factory=dict)
    asked: Mapping[CataloguePart, Asked] = field(default_factory=lambda: dict.fromkeys(CataloguePart, Asked()))
