"""``replace`` for frozen, slotted values: what ``dataclasses.replace`` gives, in a third of its time.

Nearly all time under the lock went into that one function, which calls ``__init__`` with every field by name. Here the slots are
copied, then the changes laid over them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the type checker knows that function and checks the names and types of the fields
    from dataclasses import replace as replace
else:

    def replace(value: Any, /, **changes: Any) -> Any:
        """A copy with other values in some fields. No ``__post_init__`` runs: values have none."""
        kind = value.__class__
        read_all, writers, writer_of = _slots(kind)
        copy = object.__new__(kind)
        for write, held in zip(writers, read_all(value), strict=False):
            write(copy, held)
        for name, changed in changes.items():
            writer_of[name](copy, changed)
        return copy


Writer = Callable[[Any, Any], None]


@cache
def _slots(kind: Any) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[Writer, ...], dict[str, Writer]]:
    """How to read all slots of a value at once, and how to write each: by its descriptor, past the frozen ``__setattr__``."""
    names = [field.name for field in fields(kind)]
    writer_of = {name: getattr(kind, name).__set__ for name in names}
    return attrgetter(*names, names[0]), tuple(writer_of.values()), writer_of  # one more: of one name it makes no tuple
