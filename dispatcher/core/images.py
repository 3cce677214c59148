"""Which image the instance of a container is made with: the site's, or the one that the container asks for and may have.

Containers share an instance only when their images agree. The site's own image goes by the empty name, so that it is the same
whether a container names it or not.
"""

from __future__ import annotations

import fnmatch
from typing import NamedTuple

from dispatcher.core.settings import Settings

LONGEST = 256  # clouds keep no more in the value of a tag, and by its tag the image is known after a restart


class Choice(NamedTuple):
    """``problem``: it cannot have what it asks for. ``warning``: it does not get it, and runs all the same."""

    image: str = ""
    problem: str = ""
    warning: str = ""


def choose(wanted: str, settings: Settings) -> Choice:
    """What ``runtime_constraints.image_id`` comes to."""
    if wanted in ("", settings.image_id):
        return Choice()
    shown = repr(wanted[:80])
    if not settings.allowed_images:
        return Choice(warning=f"its image_id {shown} is ignored: AllowedImages names no image that containers may ask for")
    if len(wanted) > LONGEST:
        return Choice(problem=f"image_id is longer than the {LONGEST} characters that a tag of an instance can hold")
    if not any(fnmatch.fnmatchcase(wanted, pattern) for pattern in settings.allowed_images):
        return Choice(problem=f"image_id {shown} is not one that AllowedImages permits")
    return Choice(image=wanted)
