"""How often the interpreter looks for garbage: seldom, since each look stops every thread.

The State is a large tree that lives for long, and changing it leaves next to no cycles behind.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

FULL_COLLECTION_EVERY = 50  # collections of the middle generation; the interpreter's own is 10


@contextmanager
def no_collections() -> Iterator[None]:
    """Until ``spare_garbage_collection``, or its own end: whoever loads libraries makes a hundred thousand objects that stay, and
    looking through them again and again is a tenth of a start."""
    found = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if found:
            gc.enable()


def spare_garbage_collection() -> None:
    """The State is a large tree that lives for long. Looking through all of it stops every thread, so it is done less often, and
    never for what is there from the start on."""
    gc.enable()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_COLLECTION_EVERY)
