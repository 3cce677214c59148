"""Names and tags: what may be called how in Azure, what is ours, and which tags are the driver's own.

Tag names are compared without regard to case, as Azure does. The driver's own tags are never shown and never lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dispatcher.driver import CloudError

MAX_VM_NAME = 64
MAX_TAGS, MAX_TAG_NAME, MAX_TAG_VALUE = 50, 512, 256
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")
_NOT_IN_TAG_NAMES = re.compile(r"[<>%&\\?/]")
CREATED_AT = "created-at"  # the Go dispatcher's name for it
UPSTREAM_USER = "crunch"  # as whom the Go dispatcher reaches its instances
_OURS = ("InstanceSetID", "InstanceType", "IdleBehavior", "InstanceSecret", "LoginUser", "HostKey")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """How this dispatcher knows what is its own."""

    prefix: str
    set_id: str

    @property
    def set_key(self) -> str:
        return f"{self.prefix}InstanceSetID"

    @property
    def user_key(self) -> str:
        return f"{self.prefix}LoginUser"

    @property
    def host_key_key(self) -> str:
        return f"{self.prefix}HostKey"

    @property
    def _own(self) -> frozenset[str]:
        return frozenset((self.user_key, self.host_key_key, CREATED_AT))

    def spelled(self, tags: Mapping[str, str] | None) -> dict[str, str]:
        """The tags as Azure shows them, with our names spelled as we write them."""
        ours = {f"{self.prefix}{name}".lower(): f"{self.prefix}{name}" for name in _OURS}
        return {ours.get(str(name).lower(), str(name)): str(value) for name, value in (tags or {}).items()}

    def owns(self, tags: Mapping[str, str] | None) -> bool:
        return bool(self.set_id) and self.spelled(tags).get(self.set_key) == self.set_id

    def belongs_to_others(self, tags: Mapping[str, str] | None) -> bool:
        """Whether its tags name a set, and not ours."""
        return self.spelled(tags).get(self.set_key, self.set_id) != self.set_id

    def shown(self, tags: Mapping[str, str] | None) -> dict[str, str]:
        """Without what only the driver needs."""
        return {name: value for name, value in self.spelled(tags).items() if name not in self._own}

    def own_part(self, tags: Mapping[str, str] | None) -> dict[str, str]:
        """What only the driver needs: it outlives every change of the others."""
        return {name: value for name, value in self.spelled(tags).items() if name in self._own}

    def made_here(self, name: str) -> re.Match[str] | None:
        """Whether a resource is called as this dispatcher, or the Go one with the same set, calls what it makes."""
        return re.fullmatch(rf"(compute-{re.escape(self.set_id)}-[a-z0-9]{{15}})-([a-z0-9]+)(?:[-_].*)?", name, re.IGNORECASE)


def check_name(name: str) -> None:
    """Raises CloudError when Azure would not take it for a Linux machine."""
    if len(name) > MAX_VM_NAME or not _NAME.fullmatch(name):
        raise CloudError(f"{name!r} cannot be the name of a machine in Azure: letters, digits and dashes, at most {MAX_VM_NAME}")


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises CloudError when Azure would refuse them."""
    if len(tags) > MAX_TAGS:
        raise CloudError(f"{len(tags)} tags: Azure allows {MAX_TAGS} on a machine; take some out of ResourceTags")
    for name, value in tags.items():
        if not name or len(name) > MAX_TAG_NAME or _NOT_IN_TAG_NAMES.search(name):
            rule = f"none of <>%&\\?/, at most {MAX_TAG_NAME} characters"
            raise CloudError(f"{name!r} cannot be the name of a tag in Azure: {rule}")
        if len(value) > MAX_TAG_VALUE:
            raise CloudError(f"the tag {name} has {len(value)} characters; Azure allows {MAX_TAG_VALUE}")
