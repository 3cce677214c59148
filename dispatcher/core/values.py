"""``replace`` for frozen, slotted values: what ``dataclasses.replace`` gives, in a fraction of its time.

Nearly all time under the lock went into that one function, which calls ``__init__`` with every field by name. Here the slots are
copied, then the changes laid over them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the type checker knows that function and checks the names and types of the fields
    from dataclasses import replace as replace
else:

    def replace(value: Any, /, **changes: Any) -> Any:
        """A copy with other values in some fields. No ``__post_init__`` runs: values have none."""
        copied, writer_of = _slots(value.__class__)
        copy = copied(value)
        for name, changed in changes.items():
            writer_of[name](copy, changed)
        return copy


Writer = Callable[[Any, Any], None]


@cache
def _slots(kind: Any) -> tuple[Callable[[Any], Any], dict[str, Writer]]:
    """How to copy all slots of a value, and how to write each: by its descriptor, past the frozen ``__setattr__``. The copying is
    written out, slot by slot: a loop over them takes half as long again."""
    writer_of: dict[str, Writer] = {field.name: getattr(kind, field.name).__set__ for field in fields(kind)}
    names: dict[str, Any] = {"_new": object.__new__, "_kind": kind}
    names |= {f"_set_{name}": write for name, write in writer_of.items()}
    copies = "\n ".join(f"_set_{name}(copy, value.{name})" for name in writer_of)
    exec(f"def copied(value):\n copy = _new(_kind)\n {copies}\n return copy", names)  # noqa: S102 - of names of fields
    return names["copied"], writer_of
