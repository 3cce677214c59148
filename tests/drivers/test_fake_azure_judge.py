"""The judge of the fake Azure: bodies that Azure takes pass, planted faults do not, by every opinion that is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fake_azure import microsoft, table
from tests.fake_azure.bodies import API, changed, full_body, machine_body, spot_body
from tests.fake_azure.judge import OPERATIONS, Request, faults_of, find_operation
from tests.fake_azure.sdk_models import sdk_shape
from tests.fake_azure.shapes import mismatches, shape_of, writable_paths

PATH = "/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1"
wider = pytest.mark.skipif(not microsoft.is_present(), reason=microsoft.ABSENT)
needs_sdk = pytest.mark.skipif(sdk_shape("VirtualMachine") is None, reason="azure-mgmt-compute is not installed: the extra azure")


def faults(body: Any, *, method: str = "PUT", path: str = PATH, version: str = API, **query: str) -> list[str]:
    found = find_operation(method, path)
    assert found is not None
    headers = {"content-type": "application/json"}
    request = Request(method=method, path=path, query={"api-version": version, **query}, headers=headers, body=body)
    return list(faults_of(*found, request))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every member of a body by its dotted path, but for what a map holds."""
    if isinstance(value, dict) and not path.endswith(("tags", "userAssignedIdentities")):
        for name, inner in value.items():
            where = f"{path}.{name}" if path else name
            yield where, inner
            yield from leaves(inner, where)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{number}")


BODY = full_body("vm-1")
MEMBERS = [path for path, _ in leaves(BODY)]


@pytest.mark.parametrize("body", [machine_body("vm-1"), spot_body("vm-1"), spot_body("vm-1", max_price=0.5), BODY])
def test_bodies_of_our_own_pass(body: dict[str, Any]) -> None:
    """From the smallest machine to one with everything: nothing is found wrong."""
    assert faults(body) == []


@pytest.mark.parametrize("path", MEMBERS)
def test_a_misspelt_member_is_caught(path: str) -> None:
    """Azure refuses what it does not know, wherever it stands."""
    parent, _, name = path.rpartition(".")
    spelt = changed(BODY, f"{parent}.{name[:-1]}" if parent else name[:-1], 1)
    assert any(f"{name[:-1]}: unknown member" in text for text in faults(spelt))


@pytest.mark.parametrize("path", MEMBERS)
def test_a_mistyped_member_is_caught(path: str) -> None:
    """A list of numbers is right nowhere."""
    assert any("expected" in text or "list" in text for text in faults(changed(BODY, path, [1.5])))


@pytest.mark.parametrize("path", MEMBERS)
def test_null_is_caught(path: str) -> None:
    """A driver that has nothing to say leaves the member out."""
    assert any("not null" in text for text in faults(changed(BODY, path, None)))


READ_ONLY = (
    *("id", "name", "type", "etag", "managedBy", "resources", "systemData"),
    *("properties.provisioningState", "properties.vmId", "properties.timeCreated", "properties.instanceView"),
    *("properties.storageProfile.imageReference.exactVersion", "identity.principalId", "identity.tenantId"),
)


@pytest.mark.parametrize("path", READ_ONLY)
def test_what_azure_fills_in_is_refused(path: str) -> None:
    """A body that was read is not one that may be written back."""
    assert any("read-only" in text for text in faults(changed(BODY, path, "x")))


BROKEN: list[tuple[str, Any, str]] = [
    ("location", ..., "location: required"),
    ("tags.a<b", "x", "not a name for a tag"),
    ("tags.long", "x" * 257, "257 characters"),
    ("tags.instancesetid", "x", "differ in case"),
    ("zones", ["1", "2"], "one zone at most"),
    ("zones", [1], "text expected"),
    ("properties.hardwareProfile", {}, "vmSize: required"),
    ("properties.osProfile.adminUsername", "root", "'root' is not allowed"),
    ("properties.osProfile.adminUsername", "somebody", "is not that of 'somebody'"),
    ("properties.osProfile.customData", "#!/bin/sh", "not base64"),
    ("properties.osProfile.customData", "A" * 90_000, "at most 65535"),
    ("properties.osProfile.computerName", "x" * 65, "between 1 and 64"),
    ("properties.osProfile.linuxConfiguration.ssh.publicKeys", [], "required when passwords are disabled"),
    ("properties.osProfile.linuxConfiguration.disablePasswordAuthentication", False, "adminPassword: required"),
    ("properties.storageProfile.osDisk.deleteOption", "delete", "none of Delete, Detach"),
    ("properties.storageProfile.osDisk.createOption", ..., "createOption: required"),
    ("properties.storageProfile.osDisk.diskSizeGB", "64", "whole number expected"),
    ("properties.storageProfile.osDisk.diskSizeGB", True, "whole number expected"),
    ("properties.storageProfile.osDisk.diffDiskSettings", {"option": "Local"}, "an ephemeral disk needs ReadOnly"),
    ("properties.storageProfile.imageReference.id", "/subscriptions/x", "exactly one way"),
    ("properties.storageProfile.imageReference", {"id": "image"}, "no resource id"),
    ("properties.storageProfile.imageReference", ..., "required for createOption FromImage"),
    ("properties.storageProfile.dataDisks.0.diskSizeGB", ..., "needs diskSizeGB"),
    ("properties.storageProfile.dataDisks.0.lun", ..., "lun: required"),
    ("properties.networkProfile.networkApiVersion", ..., "networkApiVersion: required"),
    ("properties.networkProfile.networkApiVersion", "2024-05-01", "none of 2020-11-01"),
    ("properties.networkProfile.networkInterfaceConfigurations.0.name", "a b", "no name for a network card"),
    ("properties.networkProfile", {}, "either network cards to make"),
    ("properties.priority", "spot", "none of Regular"),
    ("properties.evictionPolicy", "Delete", "OnlyOnAzureSpot"),
    ("properties.billingProfile", {"maxPrice": 1}, "only for priority Spot"),
    ("properties.securityProfile.securityType", ..., "only with a securityType"),
]


@pytest.mark.parametrize(("path", "value", "text"), BROKEN)
def test_a_broken_rule_is_caught(path: str, value: Any, text: str) -> None:
    """What no schema says: each fault is found, and named."""
    assert any(text in found for found in faults(changed(BODY, path, value))), faults(changed(BODY, path, value))


def test_too_many_tags_are_caught() -> None:
    """Fifty are allowed, for an update as well."""
    tags = {f"tag{number}": "x" for number in range(51)}
    assert any("51 tags" in text for text in faults(changed(BODY, "tags", tags)))
    assert any("51 tags" in text for text in faults({"tags": tags}, method="PATCH"))


def test_a_maximum_price_is_minus_one_or_above_zero() -> None:
    """0 would mean that nothing may be paid."""
    assert any("maxPrice" in text for text in faults(spot_body("vm-1", max_price=0)))


def test_members_that_came_later_need_the_later_version() -> None:
    """Tags of a network card and the newer networkApiVersion are unknown to the versions before."""
    older = [text for text in faults(BODY, version="2024-07-01") if "api-version" in text]
    assert any("tags: unknown before api-version 2025-04-01" in text for text in older)
    body = changed(BODY, "properties.networkProfile.networkInterfaceConfigurations.0.tags", ...)
    assert any("2022-11-01" in text for text in faults(body, version="2024-07-01"))


@pytest.mark.parametrize(
    ("method", "path", "query", "text"),
    [
        ("DELETE", PATH, {"force_deletion": "true"}, "query force_deletion='true' is not understood"),
        ("DELETE", PATH, {"forceDeletion": "True"}, "query forceDeletion='True' is not understood"),
        ("DELETE", PATH, {"api-version": "2031-01-01"}, "api-version '2031-01-01' is none of"),
        ("DELETE", PATH, {"api-version": ""}, "api-version '' is none of"),
        ("GET", PATH, {"$expand": "everything"}, "is not understood"),
        ("GET", "/providers/Microsoft.Compute/skus", {"$filter": "location=eastus"}, "is not understood"),
    ],
)
def test_a_wrong_query_is_caught(method: str, path: str, query: dict[str, str], text: str) -> None:
    """Names, values and versions of the address."""
    assert any(text in found for found in faults(None, method=method, path=path, **query))


def test_a_body_stands_where_one_is_expected() -> None:
    """Neither missing nor too much, and called JSON."""
    assert any("a body where none is expected" in text for text in faults({}, method="DELETE"))
    assert any("object expected, not null" in text for text in faults(None))
    operation, parts = find_operation("PUT", PATH) or pytest.fail("no such operation")
    request = Request(method="PUT", path=PATH, query={"api-version": API}, headers={"content-type": "text/plain"}, body=BODY)
    assert any("content-type" in text for text in faults_of(operation, parts, request))


def test_a_name_that_azure_does_not_take_is_caught() -> None:
    """At most 64 characters, and none that an address could not carry."""
    long = PATH.replace("vm-1", "x" * 65)
    assert any("no name for a machine" in text for text in faults(machine_body("vm-1"), path=long))


def test_there_is_no_other_route() -> None:
    """What the fake does not serve it does not guess."""
    assert find_operation("POST", PATH) is None
    assert find_operation("GET", "/resourceGroups/g/providers/Microsoft.Compute/virtualMachinez") is None


def test_the_notation_says_what_it_means() -> None:
    """Required, known since, read-only, lists, maps and choices."""
    shape = shape_of({"a!": "text", "b@2025": "whole", "c": ["A|B"], "d": {"*": "flag"}, "e": "read-only"})
    assert list(mismatches(shape, {"a": "x", "b": 1, "c": ["A"], "d": {"k": True}}, "2025")) == []
    found = list(mismatches(shape, {"b": 1, "c": ["C"], "d": {"k": 1}, "e": 1, "f": 1}, "2024"))
    places = ["$.b: unknown before", "$.c[0]: 'C'", "$.d['k']: true", "$.e: read-only", "$.f: unknown", "$.a: required"]
    assert [text.startswith(place) for text, place in zip(found, places, strict=True)] == [True] * 6


# ------------------------------------------------------------------------------------------------------- other opinions


@needs_sdk
def test_the_sdk_knows_every_member_of_our_table() -> None:
    """The newest models hold all that we allow, of both bodies."""
    for shape, model in ((table.CREATE, "VirtualMachine"), (table.UPDATE, "VirtualMachineUpdate")):
        known = sdk_shape(model)
        assert known is not None
        assert set(writable_paths(shape)) - set(writable_paths(known)) == set()


@needs_sdk
def test_the_sdk_catches_what_is_misspelt_or_read_only() -> None:
    """The second opinion is one: it is not our table in other clothes."""
    shape = sdk_shape("VirtualMachine")
    assert shape is not None
    assert list(mismatches(shape, BODY)) == []
    for path, value in (("properties.osProfile.adminUser", "x"), ("properties.vmId", "x"), ("zones", "1")):
        assert len(list(mismatches(shape, changed(BODY, path, value)))) == 1


@wider
def test_our_table_agrees_with_microsofts_descriptions() -> None:
    """The same members may be written, in the version of 2024 and in the one of 2025."""
    older = set(writable_paths(microsoft.shape_at(microsoft.MACHINES, "definitions/VirtualMachine")))
    newer = set(writable_paths(microsoft.template_shape()))
    ours = set(writable_paths(table.CREATE))
    assert ours == older | newer
    update = set(writable_paths(microsoft.shape_at(microsoft.MACHINES, "definitions/VirtualMachineUpdate")))
    assert update <= set(writable_paths(table.UPDATE)) <= update | newer


EXAMPLES = (
    microsoft.examples(
        microsoft.MACHINES,
        (
            *("VirtualMachines_CreateOrUpdate", "VirtualMachines_Update", "VirtualMachines_Delete", "VirtualMachines_Get"),
            *("VirtualMachines_List", "VirtualMachines_ListAll", "VirtualMachines_InstanceView", "VirtualMachines_Deallocate"),
            *("VirtualMachines_SimulateEviction", "VirtualMachines_Start", "VirtualMachines_ListByLocation"),
        ),
    )
    if microsoft.is_present()
    else []
)


@wider
def test_official_bodies_pass_every_shape() -> None:
    """No example of a create or an update is refused: by our table, Microsoft's description and the SDK's models."""
    with_bodies = [example for example in EXAMPLES if example.body is not None and example.method in ("PUT", "PATCH")]
    assert len(with_bodies) >= 45
    found = []
    for example in with_bodies:
        operation, _ = find_operation(example.method, _below(example.path)) or pytest.fail(example.path)
        shapes = [
            operation.body,
            sdk_shape(operation.model),
            microsoft.shape_at(microsoft.MACHINES, f"definitions/{operation.model}"),
        ]
        found += [(example.name, text) for shape in shapes if shape for text in mismatches(shape, example.body, "2024-07-01")]
    assert found == []


@wider
def test_official_requests_pass_the_judge() -> None:
    """Routes, versions, queries and bodies of every operation that a driver uses; placeholders are not judged as values."""
    found = []
    for example in EXAMPLES:
        operation, parts = find_operation(example.method, _below(example.path)) or pytest.fail(example.path)
        headers = {"content-type": "application/json"}
        query = {name: value for name, value in example.query.items() if set(value) != {"a"}}
        request = Request(method=example.method, path=example.path, query=query, headers=headers, body=example.body)
        found += [(example.name, text) for text in faults_of(operation, parts, request)]
    assert found == []


def _below(path: str) -> str:
    """Without the subscription."""
    return "/" + path.removeprefix("/subscriptions/").partition("/")[2]


def test_every_operation_is_found_by_its_own_path() -> None:
    """No row of the table hides another."""
    for operation in OPERATIONS:
        path = "/" + operation.path.replace("(operations|DiskOperations)", "operations")
        for name in ("group", "name", "location", "gallery", "image"):
            path = path.replace(f"{{{name}}}", f"a-{name}")
        found = find_operation(operation.method, path)
        assert found is not None
        assert found[0].name == operation.name
