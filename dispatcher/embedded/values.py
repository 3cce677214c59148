"""Names, times and texts as the Arvados API writes them.

Every value here is pure but ``new_uuid``, ``new_secret`` and ``now``; a time is text of UTC with nine digits after the dot, so
that times compare as text.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from datetime import UTC, datetime
from typing import Any

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
UUID_PATTERN = re.compile(r"[0-9a-z]{5}-[0-9a-z]{5}-[0-9a-z]{15}")
PORTABLE_DATA_HASH = re.compile(r"[0-9a-f]{32}\+\d+(\+\S+)*")
_CODE_NAMES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 422: "Unprocessable Content"}


def random_text(length: int) -> str:
    """Lower-case letters and digits from the system's source of randomness."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_uuid(cluster_id: str, infix: str) -> str:
    return f"{cluster_id}-{infix}-{random_text(15)}"


def new_secret() -> str:
    return random_text(50)


def now() -> str:
    return format_time(datetime.now(UTC))


def format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def parse_time(text: str) -> datetime | None:
    """A time of ISO 8601 (any number of digits after the dot, UTC unless it says otherwise); None when it is none."""
    shortened = re.sub(r"(\.\d{6})\d+", r"\1", str(text).strip())
    try:
        moment = datetime.fromisoformat(shortened)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def milliseconds(time_text: str) -> int:
    """Milliseconds since 1970, rounded; what a priority subtracts."""
    moment = parse_time(time_text)
    if moment is None:
        raise ValueError(f"not a time: {time_text!r}")
    return (int(moment.timestamp()) * 1_000_000 + moment.microsecond + 500) // 1000


def humanize(attribute: str) -> str:
    """``locked_by_uuid`` as it stands at the beginning of a sentence: ``Locked by uuid``."""
    return attribute.replace("_", " ").capitalize()


def inspect(value: Any, is_time: bool = False) -> str:
    """A value as Ruby prints it, since error texts quote values in that form."""
    if value is None:
        return "nil"
    if is_time:
        moment = parse_time(value)
        return moment.strftime("%a, %d %b %Y %H:%M:%S.%f") + "000 UTC +00:00" if moment else "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inspect(k)}=>{inspect(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inspect(v) for v in value) + "]"
    return str(value)


def ruby_class(value: Any) -> str:
    """The name that an error text gives to the type of a JSON value."""
    names = {bool: "TrueClass" if value else "FalseClass", str: "String", int: "Integer", float: "Float", dict: "Hash"}
    return "NilClass" if value is None else names.get(type(value), "Array")


def etag(record: dict[str, Any]) -> str:
    """Opaque, and different when the content is different."""
    digest = int.from_bytes(hashlib.sha256(canonical_json(record).encode()).digest()[:16], "big")
    text = ""
    while digest:
        digest, rest = divmod(digest, 36)
        text += ALPHABET[rest]
    return text


def canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def image_hash(image: str) -> str:
    """What a container says for its image: a portable data hash as it is, any other name as a hash in the same form.

    Images are not resolved here. The hash is made of the name, so equal names give equal hashes.
    """
    if PORTABLE_DATA_HASH.fullmatch(image):
        return image
    return f"{hashlib.md5(image.encode(), usedforsecurity=False).hexdigest()}+{len(image.encode())}"


def status_text(status: int) -> str:
    return f"{status} {_CODE_NAMES.get(status, 'Error')}"
