"""Recordings of the real server, and how one of them is compared with what our queue answers.

Nothing recorded stands in this repository: the recordings are looked for beside it, or where ``ARVADOS_TRANSCRIPTS`` says.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

VARIABLE = "ARVADOS_TRANSCRIPTS"
REPOSITORY = Path(__file__).resolve().parents[2]
BESIDE = REPOSITORY.parent / "shared" / "reference" / "queue-api" / "transcripts.jsonl"
COMPARED = ("containers", "container_requests", "users", "api_client_authorizations")
PREFIX = "/arvados/v1/"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
_UUID = re.compile(r"[0-9a-z]{5}-([0-9a-z]{5})-[0-9a-z]{15}")
_RUBY_TIME = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{9} UTC \+00:00")
_REQUEST_ID = re.compile(r" ?\([^()]*\)$")
_ROUTER = re.compile(r"^//railsapi\.internal\S*: (\d{3}) [A-Za-z ]+: ")
_POINT = 1 << 50


def location() -> Path:
    return Path(os.environ.get(VARIABLE) or BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One recorded call and its answer."""

    index: int
    name: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any
    status: int | None
    answer: Any

    @property
    def words(self) -> list[str]:
        """The path behind the prefix: resource, uuid, action."""
        path = re.sub("/+", "/", self.path)
        return [each for each in path.removeprefix(PREFIX).split("/") if each]

    @property
    def resource(self) -> str:
        return self.words[0] if self.path.startswith(PREFIX) and self.words else ""

    @property
    def token(self) -> str:
        """The name of the token with which the call was made."""
        found = re.search(r"<token:(\w+)>", self.headers.get("Authorization", ""))
        return found.group(1) if found else ""

    @property
    def is_list(self) -> bool:
        overridden = "GET" in (self.headers.get("X-Http-Method-Override"), self.form.get("_method"))
        return len(self.words) == 1 and (self.method == "GET" or overridden)

    @property
    def form(self) -> dict[str, Any]:
        return dict(self.body.get("$form", {})) if isinstance(self.body, dict) else {}

    @property
    def parameters(self) -> dict[str, Any]:
        """Query, form and JSON body together; JSON texts understood."""
        merged = {**dict(parse_qsl(self.query)), **self.form}
        if isinstance(self.body, dict) and "$form" not in self.body:
            merged |= self.body
        return {name: understood(value) for name, value in merged.items()}

    def sent(self, singular: str) -> dict[str, Any]:
        """The attributes that the call wants to write."""
        given = self.parameters
        if isinstance(given.get(singular), dict):
            return dict(given[singular])
        inner = {key[len(singular) + 1 : -1]: value for key, value in given.items() if key.startswith(f"{singular}[")}
        return inner or {key: value for key, value in given.items() if key not in ("select", "_method")}


def understood(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def load(path: Path) -> list[Call]:
    return [_call(index, json.loads(line)) for index, line in enumerate(path.read_text().splitlines()) if line.strip()]


def _call(index: int, row: dict[str, Any]) -> Call:
    request, response = row["request"], row["response"]
    parts = urlsplit(request["path"])
    query = parts.query
    if not query and isinstance(request.get("query"), dict):
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in request["query"].items()}
        query = urlencode(texts)
    return Call(
        index=index,
        name=row["name"],
        method=request["method"],
        path=unquote(request["path"].partition("?")[0]),
        query=query,
        headers=request["headers"] or {},
        body=request["body"],
        status=response["status"],
        answer=response["body"],
    )


# -------------------------------------------------------------------------------------------------------------- comparing


def differences(call: Call, status: int, answer: Any) -> list[str]:
    """What differs between a recorded answer and ours, in words; nothing when they agree."""
    if status != call.status:
        return [f"status {status} instead of {call.status}: {json.dumps(answer)[:300]}"]
    if isinstance(call.answer, dict) and "errors" in call.answer:
        return _error_differences(call.answer, answer)
    return list(_value_differences("", call.answer, answer, call))


def _error_differences(recorded: dict[str, Any], ours: Any) -> list[str]:
    if set(recorded) != set(ours):
        return [f"keys {sorted(ours)} instead of {sorted(recorded)}"]
    wanted, found = sorted(phrases(recorded["errors"])), sorted(phrases(ours["errors"]))
    return [] if wanted == found else [f"errors {found} instead of {wanted}"]


def phrases(errors: list[str]) -> list[str]:
    """The inner phrases of an error, without request ids, paths, times and big numbers."""
    texts = [part for error in errors for part in (_ROUTER.sub("", error).split("; ") if _ROUTER.match(error) else [error])]
    return [_masked(_REQUEST_ID.sub("", text)) for text in texts]


def _masked(text: str) -> str:
    if "giving up after" in text:
        return text.rsplit(": ", 1)[-1]
    if "StatementInvalid" in text:
        text = re.sub(r'[\\n"]*(CONTEXT.*)?"?>?$', "", text.replace("\\n", "\n").split("\n")[0])
    if text.startswith("Id cannot"):
        return "Id cannot"
    return re.sub(r"\d{7,}", "N", _RUBY_TIME.sub("TIME", _UUID.sub(r"UUID-\1", text)))


def _value_differences(where: str, recorded: Any, ours: Any, call: Call) -> Any:
    if where == ".writable_by":
        return  # names groups, which we do not have
    if isinstance(recorded, dict) and isinstance(ours, dict):
        if set(recorded) != set(ours):
            yield f"{where}: keys missing {sorted(set(recorded) - set(ours))}, too many {sorted(set(ours) - set(recorded))}"
        for key in sorted(set(recorded) & set(ours)):
            yield from _value_differences(f"{where}.{key}", recorded[key], ours[key], call)
    elif isinstance(recorded, list) and isinstance(ours, list):
        if len(recorded) != len(ours):
            yield f"{where}: {len(ours)} items instead of {len(recorded)}"
        for index, (one, other) in enumerate(zip(recorded, ours, strict=False)):
            yield from _value_differences(f"{where}[{index}]", one, other, call)
    elif not _is_same(where, recorded, ours, call):
        yield f"{where}: {ours!r} instead of {recorded!r}"


def _is_same(where: str, recorded: Any, ours: Any, call: Call) -> bool:
    if type(recorded) is not type(ours):
        return False
    name = where.rsplit(".", 1)[-1]
    if recorded == ours or name in ("etag", "api_token"):
        return True
    if name == "items_available":
        return len(call.answer["items"]) != recorded
    if name == "priority":
        return recorded > _POINT // 2 and round(recorded / _POINT) == round(ours / _POINT)
    if isinstance(recorded, str) and _TIME.fullmatch(recorded):
        return bool(_TIME.fullmatch(ours)) and recorded[:20] not in json.dumps(call.body)
    return _is_same_kind(recorded, ours)


def _is_same_kind(recorded: Any, ours: Any) -> bool:
    """Two uuids made by chance: of the same kind, and neither of somebody whom both sides know."""
    if not isinstance(recorded, str):
        return False
    one, other = _UUID.fullmatch(recorded), _UUID.fullmatch(ours)
    return bool(one and other and one.group(1) == other.group(1) and one.group(1) in ("dz642", "xvhdp", "4zz18", "gj3su"))
