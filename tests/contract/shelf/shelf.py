"""A whole driver in one file: its cloud is a folder, its instances are files. Tests install it as a stranger's package."""

import contextlib
import json
import os
from pathlib import Path

from dispatcher.driver import (
    Capabilities,
    CloudError,
    Created,
    Instance,
    Listing,
    Misconfigured,
    QuotaReached,
    Scope,
)


class Shelf:
    capabilities = Capabilities(create_is_idempotent=True)

    def __init__(self, settings, folder, places):
        self._folder = folder
        self._places = places
        self._set_key = f"{settings.tag_prefix}InstanceSetID"
        self._set_id = settings.instance_set_id

    def create(self, request, call):
        with translated("create"):
            if self._path(request.name).exists():
                self._facts_of_ours(request.name)
            else:
                self._check_places(call)
                facts = {"type": request.instance_type.provider_type, "tags": dict(request.tags)}
                self._write(request.name, facts)
        return Created(request.name)

    def list(self, call):
        with translated("list"):
            found = [(path.stem, json.loads(path.read_text())) for path in self._folder.glob("*.json")]
        instances = [
            Instance(id=name, name=name, provider_type=facts["type"], address="192.0.2.1", tags=facts["tags"])
            for name, facts in found
        ]
        return Listing(tuple(instance for instance in instances if instance.tags.get(self._set_key) == self._set_id))

    def destroy(self, instance_id, call):
        with translated("destroy"):
            if self._path(instance_id).exists():
                self._facts_of_ours(instance_id)
                self._path(instance_id).unlink(missing_ok=True)

    def set_tags(self, instance_id, tags, call):
        with translated("set_tags"):
            facts = self._facts_of_ours(instance_id)
            self._write(instance_id, {**facts, "tags": dict(tags)})

    def _facts_of_ours(self, instance_id):
        facts = json.loads(self._path(instance_id).read_text())
        if facts["tags"].get(self._set_key) != self._set_id:
            raise CloudError(f"{instance_id} is not ours")
        return facts

    def _check_places(self, call):
        call.limit, call.usage = self._places, len(list(self._folder.glob("*.json")))
        if call.usage >= call.limit:
            raise QuotaReached(f"all {self._places} places are taken", scope=Scope.EVERYTHING)

    def _path(self, name):
        return self._folder / f"{name}.json"

    def _write(self, name, facts):
        temporary = self._folder / f"{name}.{os.urandom(4).hex()}.new"
        temporary.write_text(json.dumps(facts))
        temporary.replace(self._path(name))  # whole or not at all


@contextlib.contextmanager
def translated(call_name):
    try:
        yield
    except OSError as error:
        raise CloudError(f"{call_name}: {error}", outcome_unknown=call_name == "create") from error


DRIVER_CONTRACT = "1.0"


def open(settings):
    for name in settings.parameters:
        if name not in ("Folder", "Places"):
            raise Misconfigured(name, "there are Folder and Places")
    folder = settings.parameters.get("Folder")
    if not isinstance(folder, str) or not Path(folder).is_dir():
        raise Misconfigured("Folder", "name a folder that exists")
    return Shelf(settings, Path(folder), settings.parameters.get("Places", 100))
