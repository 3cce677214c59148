"""From two files to one Config: the cluster's own, which is read and never extended, and our optional one.

Everything that is wrong is told at once. A Config exists only when nothing is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from dispatcher.config.credentials import FOLDER, Credentials, divided, find_credentials, with_credentials
from dispatcher.config.files import Unreadable, read_text, source_of
from dispatcher.config.instance_types import read_instance_types
from dispatcher.config.keys import CLUSTER_KEYS, KEYS, OWN_KEYS, Key
from dispatcher.config.machine import Machine, this_machine
from dispatcher.config.model import API, Access, CloudPart, Config, DriverChoice, Loaded, Logs, Runner, StatePlaces
from dispatcher.config.places import (
    check_token,
    instance_set_id,
    read_api_place,
    read_events_url,
    read_listen,
    read_only_token,
    read_postgresql,
    read_private_key,
    read_runner_binary,
)
from dispatcher.config.problems import InForce, Problem, Severity
from dispatcher.config.reading import Reader, hidden
from dispatcher.config.values import STRUCTURE
from dispatcher.config.yaml_lines import Entry, Fields, Items, lines, parse, plain
from dispatcher.core.settings import Settings

DEFAULT_CONFIG = "/etc/arvados/config.yml"
OWN_CONFIG = "/etc/cloud-dispatcher/config.yml"  # instead of the default one where that is not
DEFAULT_SETTINGS = "/etc/cloud-dispatcher/settings.yml"

STANDARD = (DEFAULT_CONFIG, OWN_CONFIG)  # their secrets may stand in FOLDER

VMS = "Containers.CloudVMs"
PARAMETERS = f"{VMS}.DriverParameters"
PRIVATE_KEY = "Containers.DispatchPrivateKey"


def load(
    config_path: str | os.PathLike[str] = DEFAULT_CONFIG,
    settings_path: str | os.PathLike[str] | None = None,
    cluster_id: str | None = None,
    *,
    machine: Machine | None = None,
    environment: Mapping[str, str] | None = None,
    credentials: str | None = None,
) -> Loaded:
    """Read both files. ``settings_path`` None: the default one, which may be absent. ``environment`` None: that of the process;
    ``credentials``: a folder, None for the standard one with a standard file. Never raises for what a file holds."""
    path = config_place(os.fspath(config_path))
    surroundings = os.environ if environment is None else environment
    cluster, own, notes = cluster_of(path, settings_path, cluster_id, surroundings, credentials)
    if own is None or cluster is None:
        return _without_config(notes())
    config = replace(_assemble(cluster, own, machine or this_machine()), source=source_of(path))
    return _loaded(config, cluster, notes())


def config_place(path: str) -> str:
    """The cluster's file that is meant: on a computer without the usual one, our own."""
    return OWN_CONFIG if path == DEFAULT_CONFIG and not os.path.exists(path) and os.path.exists(OWN_CONFIG) else path


def _take_credentials(cluster: Reader, own: Reader, found: Credentials) -> None:
    for reader, part in zip((cluster, own), divided(found), strict=True):
        reader.fields = with_credentials(reader.fields, part)
        reader.elsewhere = {reader.full(key): file for key, file in part.files.items()}


def _problems(*readers: Reader | None) -> Iterable[Problem]:
    """Of each reader; readers of one file share their list."""
    seen: list[list[Problem]] = []
    for reader in readers:
        if reader is not None and not any(reader.problems is each for each in seen):
            seen.append(reader.problems)
    return [problem for problems in seen for problem in problems]


def _of(severity: Severity, notes: Iterable[Problem]) -> tuple[Problem, ...]:
    """In the order of the file; what has no line comes first."""
    found = (note for note in notes if note.severity is severity)
    return tuple(sorted(found, key=lambda note: (note.file, note.line or 0)))


def _without_config(notes: list[Problem]) -> Loaded:
    return Loaded(config=None, problems=_of(Severity.ERROR, notes), warnings=_of(Severity.WARNING, notes))


def _loaded(config: Config, cluster: Reader, notes: list[Problem]) -> Loaded:
    errors = _of(Severity.ERROR, notes)
    return Loaded(
        config=None if errors else config,
        problems=errors,
        warnings=_of(Severity.WARNING, notes),
        in_force=config.in_force,
        file=cluster.file,
        prefix=cluster.prefix,
        lines={path: line for path, line in _lines_for_others(cluster).items() if line},
        elsewhere=cluster.elsewhere,
    )


# ------------------------------------------------------------------------------------------------------------------ files


def _mapping_of(path: str, notes: list[Problem]) -> Reader | None:
    """The file's outermost mapping; None, and a problem in ``notes``, when there is none."""
    try:
        text = read_text(path)
    except Unreadable as unreadable:
        notes.append(Problem(severity=Severity.ERROR, file=path, text=str(unreadable), unreadable=True))
        return None
    document = parse(text, path)
    notes.extend(document.problems)
    if document.root is None:
        return None
    if not isinstance(document.root, Fields):
        what = "a list" if isinstance(document.root, Items) else "a single value"
        notes.append(Problem(severity=Severity.ERROR, file=path, line=1, text=f"has to be a mapping, not {what}"))
        return None
    return Reader(path, document.root)


def _own_reader(path: str | os.PathLike[str] | None, notes: list[Problem]) -> Reader | None:
    if path is None and not os.path.exists(DEFAULT_SETTINGS):
        return Reader(DEFAULT_SETTINGS, Fields({}, 0))
    return _mapping_of(os.fspath(path) if path is not None else DEFAULT_SETTINGS, notes)


def _cluster_reader(top: Reader, wanted: str | None) -> Reader | None:
    """The part of the file that is one cluster's."""
    entry = top.find("Clusters")
    line = entry.line if entry else None
    clusters = top.mapping("Clusters").entries
    name = wanted if wanted is not None else next(iter(clusters), "")
    if not clusters:
        top.wrong("Clusters", line, "is missing or empty: it has to hold the cluster, by its id of five letters")
    elif wanted is None and len(clusters) > 1:
        top.wrong("Clusters", line, f"holds several ({', '.join(clusters)}): say which one by --cluster")
    elif name not in clusters:
        top.wrong("Clusters", line, f"does not hold {wanted}, which --cluster asks for, only {', '.join(clusters)}")
    else:
        return top.below("Clusters").below(name, clusters[name])
    return None


def cluster_of(
    path: str,
    settings_path: str | os.PathLike[str] | None,
    cluster_id: str | None,
    environment: Mapping[str, str],
    credentials: str | None = None,
) -> tuple[Reader | None, Reader | None, Callable[[], list[Problem]]]:
    """The cluster's part with its credentials, our own file, and all problems found up to the moment when they are asked for."""
    folder = credentials if credentials is not None else FOLDER if path in STANDARD else ""
    found = find_credentials(environment, folder)
    notes: list[Problem] = [*found.problems]
    top = _mapping_of(path, notes)
    own = _own_reader(settings_path, notes)
    cluster = None if top is None else _cluster_reader(top, cluster_id)
    if cluster is not None and own is not None:
        _take_credentials(cluster, own, found)
    return cluster, own, lambda: [*notes, *_problems(top, own, cluster)]


def load_cloud_part(path: str, cluster_id: str | None = None) -> CloudPart:
    """Only what concerns the cloud. Never raises for what the file holds."""
    notes: list[Problem] = []
    top = _mapping_of(path, notes)
    cluster = None if top is None else _cluster_reader(top, cluster_id)
    if top is None or cluster is None:
        return CloudPart(problems=_of(Severity.ERROR, [*notes, *_problems(top)]))
    image = next(key for key in CLUSTER_KEYS if key.path == f"{VMS}.ImageID")
    part = CloudPart(
        parameters=_driver_parameters(cluster),
        image_id=cluster.read(image),
        instance_types=read_instance_types(cluster, 0.0),
    )
    return replace(part, problems=_of(Severity.ERROR, [*notes, *_problems(top)]))


# --------------------------------------------------------------------------------------------------------------- assembly


def _assemble(cluster: Reader, own: Reader, machine: Machine) -> Config:
    """Everything read and checked. With an error among the problems the result is only good for showing."""
    values = {**_read_table(cluster, CLUSTER_KEYS), **_read_table(own, OWN_KEYS)}
    _check_tokens(cluster, values)
    values["config.read_only_token"] = read_only_token(own, values["config.read_only_token"], values["config.management_token"])
    place, events_url = read_api_place(cluster), read_events_url(cluster)
    listen, postgresql = read_listen(cluster, machine), read_postgresql(cluster)
    runner = Runner(binary=read_runner_binary(cluster, machine), **_group(values, "runner"))
    access = Access(private_key=read_private_key(cluster), **_group(values, "access"))
    driver = DriverChoice(parameters=_driver_parameters(cluster), **_group(values, "driver"))
    settings = _settings(cluster, values)
    _warn_unknown(cluster, own)
    state = _state_places(values)
    return Config(
        cluster_id=settings.cluster_id,
        settings=settings,
        api=API(url=f"{place.scheme}://{place.netloc}", host=place.netloc, events_url=events_url, **_group(values, "api")),
        listen=listen,
        postgresql=postgresql,
        logs=Logs(**_group(values, "logs")),
        access=access,
        runner=runner,
        driver=driver,
        state=state,
        cluster=plain(cluster.fields),
        in_force=_in_table_order([*cluster.in_force, *own.in_force]),
        **_group(values, "config"),
    )


def _read_table(reader: Reader, keys: Iterable[Key]) -> dict[str, Any]:
    """Target → value. Keys without a target are read for their mistakes alone."""
    read = {key.path: (key.target, reader.read(key)) for key in keys if key.kind is not STRUCTURE}
    return {target or path: value for path, (target, value) in read.items()}


def _group(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    prefix = f"{name}."
    return {target.removeprefix(prefix): value for target, value in values.items() if target.startswith(prefix)}


def _settings(cluster: Reader, values: Mapping[str, Any]) -> Settings:
    return Settings(
        cluster_id=cluster.prefix.rpartition(".")[2],
        instance_set_id=instance_set_id(values["api.token"]),
        instance_types=read_instance_types(cluster, values["types.preemptible_price_factor"]),
        **_group(values, "settings"),
    )


def _state_places(values: Mapping[str, Any]) -> StatePlaces:
    folder = values["state.folder"]
    return StatePlaces(folder=folder, lock_file=values["state.lock_file"] or f"{folder.rstrip('/')}/lock")


def _driver_parameters(cluster: Reader) -> Mapping[str, Any]:
    """As they stand in the file. Any of them may be secret, so only their names are shown."""
    parameters = cluster.below(PARAMETERS)
    for name, entry in parameters.fields.entries.items():
        cluster.show_found(f"{PARAMETERS}.{name}", hidden(plain(entry.node) is not None), entry)
    found: Mapping[str, Any] = plain(parameters.fields)
    return found


def _lines_for_others(cluster: Reader) -> dict[str, int]:
    """Where the keys stand that only the driver and the edge can judge."""
    found: dict[str, Entry | None] = {path: cluster.find(path) for path in (PRIVATE_KEY, f"{VMS}.Driver", PARAMETERS)}
    there = {path: entry for path, entry in found.items() if entry is not None}
    below = lines(there[PARAMETERS].node, PARAMETERS) if PARAMETERS in there else ()
    return {**{path: entry.line for path, entry in there.items()}, **dict(below)}


def _in_table_order(shown: Iterable[InForce]) -> tuple[InForce, ...]:
    place = {key.path: number for number, key in enumerate(KEYS)}

    def rank(each: InForce) -> int:
        path = each.path
        while path and path not in place:
            path = path.rpartition(".")[0]
        return place.get(path, len(place))

    return tuple(sorted(shown, key=rank))


# ----------------------------------------------------------------------------------------------------------------- checks


def _check_tokens(cluster: Reader, values: Mapping[str, Any]) -> None:
    check_token(cluster, "SystemRootToken", values["api.token"])
    check_token(cluster, "ManagementToken", values["config.management_token"])
    if not values["api.token"]:
        cluster.wrong("SystemRootToken", None, "is missing: without it the API answers nothing")
    if not values["config.management_token"]:
        cluster.warn("ManagementToken", None, "is missing: the management API refuses everybody")
    if values["api.insecure"]:
        entry = cluster.find("TLS.Insecure")
        cluster.warn("TLS.Insecure", entry.line if entry else None, "is on: the API's certificate is not verified")


def _warn_unknown(cluster: Reader, own: Reader) -> None:
    ours = {key.path: "our own settings file" for key in OWN_KEYS}
    known = [key.path.removeprefix(f"{VMS}.") for key in CLUSTER_KEYS if key.path.startswith(f"{VMS}.")]
    theirs = {key.path.rpartition(".")[2]: f"the cluster's file, as {key.path}" for key in CLUSTER_KEYS}
    cluster.below(VMS).warn_unknown(known, ours)
    own.warn_unknown(ours, theirs)
