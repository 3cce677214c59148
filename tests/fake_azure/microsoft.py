"""Microsoft's own descriptions of the bodies, read into our form where they lie beside the repository: a wider check.

Two kinds: API descriptions with their request examples (``specs-…``), and the schemas of deployment templates
(``arm-schemas``). Nothing of them stands in this repository; ``AZURE_SCHEMAS`` says where they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.fake_azure.shapes import Kind, Member, Shape

VARIABLE = "AZURE_SCHEMAS"
REPOSITORY = Path(__file__).resolve().parents[2]
BESIDE = REPOSITORY.parent / "shared" / "reference" / "azure-schemas"
COMPUTE = "specs-2024-07-01/specification/compute/resource-manager/Microsoft.Compute"
MACHINES = f"{COMPUTE}/ComputeRP/stable/2024-07-01/virtualMachine.json"
TEMPLATES = "arm-schemas/2025-04-01/Microsoft.Compute.json"
_KINDS = {"string": Kind.TEXT, "integer": Kind.WHOLE, "number": Kind.NUMBER, "boolean": Kind.FLAG, "array": Kind.LIST}


def location() -> Path:
    return Path(os.environ.get(VARIABLE) or BESIDE)


def is_present() -> bool:
    return (location() / MACHINES).is_file()


ABSENT = f"Microsoft's API descriptions are not here: set {VARIABLE} to a folder that holds {MACHINES}"


@dataclass(frozen=True, slots=True)
class Node:
    """A schema and the file in which it stands."""

    schema: dict[str, Any]
    file: Path

    def follow(self) -> Node:
        """Through ``$ref`` to what is meant, and past the alternative "an expression of the template language"."""
        schema = self.schema
        if "oneOf" in schema:
            real = [each for each in schema["oneOf"] if "definitions/expression" not in each.get("$ref", "")]
            schema = real[0] if len(real) == 1 else {}
        if "$ref" not in schema:
            return Node(schema, self.file)
        name, _, pointer = schema["$ref"].partition("#")
        file = (self.file.parent / name).resolve() if name else self.file
        return Node(_at(_read(file), pointer), file).follow()


@cache
def _read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def _at(document: dict[str, Any], pointer: str) -> dict[str, Any]:
    for part in pointer.strip("/").split("/"):
        document = document[part]
    return document


@cache
def shape_at(file: str, pointer: str) -> Shape:
    return shape_of(Node(_at(_read((location() / file).resolve()), pointer), (location() / file).resolve()))


def shape_of(node: Node) -> Shape:
    """Objects closed, as the service closes them. A list of choices stays open where the description says so for sizes."""
    node = node.follow()
    schema = node.schema
    members = dict(_members(node))
    if members:
        return Shape(kind=Kind.OBJECT, members=members)
    if isinstance(extra := schema.get("additionalProperties"), dict):
        return Shape(kind=Kind.MAP, of=_later(extra, node.file))
    if schema.get("type") == "array":
        items = schema["items"]
        return Shape(kind=Kind.LIST, of=_later(items, node.file))
    kind = _KINDS.get(schema.get("type", ""), Kind.ANY)
    sizes = schema.get("x-ms-enum", {}).get("name") == "VirtualMachineSizeTypes" or len(schema.get("enum", ())) > 100
    return Shape(kind=kind, words=() if sizes or kind is not Kind.TEXT else tuple(schema.get("enum", ())))


def _members(node: Node) -> Iterator[tuple[str, Member]]:
    for base in node.schema.get("allOf", ()):
        yield from _members(Node(base, node.file).follow())
    required = node.schema.get("required", ())
    for name, inner in node.schema.get("properties", {}).items():
        read_only = bool(inner.get("readOnly"))
        shape = _later(inner, node.file)
        yield name, Member(shape=shape, required=name in required, read_only=read_only)


def _later(schema: dict[str, Any], file: Path) -> Callable[[], Shape]:
    """Made when it is asked for, once: schemas may contain themselves."""
    made: list[Shape] = []

    def shape() -> Shape:
        if not made:
            made.append(shape_of(Node(schema, file)))
        return made[0]

    return shape


@cache
def template_shape() -> Shape:
    """The body of a create as templates hold it, without what belongs to the template alone."""
    shape = shape_at(TEMPLATES, "resourceDefinitions/virtualMachines")
    own = ("apiVersion", "name", "type", "resources")
    return Shape(kind=Kind.OBJECT, members={name: member for name, member in shape.members.items() if name not in own})


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One official request: its operation, path and body."""

    name: str
    method: str
    path: str
    query: dict[str, str]
    body: Any


def examples(file: str, operations: tuple[str, ...]) -> list[Example]:
    """The official request examples of some operations, in the order of the description."""
    path = (location() / file).resolve()
    found = []
    for template, methods in _read(path)["paths"].items():
        for method, operation in methods.items():
            if operation.get("operationId") in operations:
                for link in operation.get("x-ms-examples", {}).values():
                    found.append(_example(path.parent / link["$ref"], method, template, operation, path))
    return found


def _example(example: Path, method: str, template: str, operation: dict[str, Any], file: Path) -> Example:
    parameters = _read(example)["parameters"]
    specs = [Node(each, file).follow().schema for each in operation["parameters"]]
    path, query, body = template, {}, None
    for spec in specs:
        value = parameters.get(spec["name"])
        if value is None:
            continue
        if spec["in"] == "path":
            path = path.replace(f"{{{spec['name']}}}", str(value).strip("{}"))  # the value itself may be a placeholder
        elif spec["in"] == "query":
            query[spec["name"]] = str(value).lower() if isinstance(value, bool) else str(value)
        elif spec["in"] == "body":
            body = value
    return Example(name=example.stem, method=method.upper(), path=path, query=query, body=body)
