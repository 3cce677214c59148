"""One call on its way through the rules: the transaction, the caller, the cluster's settings and the time.

An act is made for one request and thrown away with it; everything that happens in it is kept as a whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from .resources import CONTAINER_REQUESTS, CONTAINERS, TOKENS, Record, Resource
from .rules import Caller
from .store import Transaction
from .values import new_secret, new_uuid

SYSTEM_USER_SUFFIX = "tpzed-000000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may choose. Attempts are counts."""

    cluster_id: str = "zzzzz"
    max_retry_attempts: int = 3
    max_dispatch_attempts: int = 10

    @property
    def system_user_uuid(self) -> str:
        return f"{self.cluster_id}-{SYSTEM_USER_SUFFIX}"

    @property
    def system_token_uuid(self) -> str:
        return f"{self.cluster_id}-gj3su-000000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One call. ``now`` is the time that it writes wherever it writes one."""

    transaction: Transaction
    caller: Caller
    settings: Settings
    now: str

    def insert(self, resource: Resource, record: Record, *, by: str, owner: str) -> Record:
        """Store a new record with its identity and times."""
        record["uuid"] = record.get("uuid") or new_uuid(self.settings.cluster_id, resource.infix)
        record["owner_uuid"] = owner
        record["created_at"] = record["modified_at"] = self.now
        record["modified_by_user_uuid"] = by
        self.transaction.insert(resource, record)
        return record

    def save_container(self, old: Record, new: Record, by: str | None = None) -> Record:
        """Write what differs, in the name of a user or, for what merely follows, of the system."""
        return self._save(CONTAINERS, old, new, by or self.settings.system_user_uuid)

    def save_request(self, old: Record, new: Record, by: str | None = None) -> Record:
        return self._save(CONTAINER_REQUESTS, old, new, by or self.settings.system_user_uuid)

    def _save(self, resource: Resource, old: Record, new: Record, by: str) -> Record:
        changed = {name: value for name, value in new.items() if name != "id" and value != old.get(name)}
        if not changed:
            return new
        changed |= {"modified_at": self.now, "modified_by_user_uuid": by}
        self.transaction.update(resource, old["uuid"], changed)
        return {**new, **changed}

    def new_token(self, owner: str, scopes: list[str]) -> Record:
        token = TOKENS.blank() | {
            "uuid": new_uuid(self.settings.cluster_id, TOKENS.infix),
            "owner_uuid": owner,
            "api_token": new_secret(),
            "scopes": scopes,
            "created_at": self.now,
        }
        self.transaction.insert(TOKENS, token)
        return token

    def end_token(self, uuid: str | None) -> None:
        """From now on nobody is let in with this token of a container. Nothing names it any more, so it is not kept."""
        if uuid:
            self.transaction.delete(TOKENS, uuid)
