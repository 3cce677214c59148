"""Writes docs/configuration.md from the tables of keys, so that the page cannot disagree with the program.

``make docs`` puts it in place; a test fails while the page is stale.
"""

from __future__ import annotations

from collections.abc import Iterable

from dispatcher.config.instance_types import CUDA_KEYS, GPU_KEYS, TYPE_KEYS
from dispatcher.config.keys import CLUSTER_KEYS, OWN_KEYS, Key
from dispatcher.config.problems import Source
from dispatcher.config.values import STRUCTURE

HEAD = """\
# Configuration

This page is made from the tables in `dispatcher/config/` by `make docs`; do not edit it.

The dispatcher reads two YAML files:

* **the cluster's own file**, `/etc/arvados/config.yml` (`--config`). It belongs to the cluster: every key that a cloud dispatcher
  needs is read from it with the meaning that it has there, and no key of ours is looked for in it. It has to hold exactly one
  cluster, unless `--cluster ID` says which one.
* **our own file**, `/etc/cloud-dispatcher/settings.yml` (`--settings`), for what the cluster's file has no key for. It is
  optional; when it is named on the command line it has to exist. Its keys stand at the top level.

On a computer without `/etc/arvados/config.yml` the cluster's file is `/etc/cloud-dispatcher/config.yml`, if it is there.

Secrets need not stand in either. **A file in `/etc/cloud-dispatcher/credentials/`** (root's, mode 0700) holds the value of the
key that it is named as, and wins over either file: `SystemRootToken`, `ManagementToken`, our own `ReadOnlyToken`,
`Containers.DispatchPrivateKey`, `PostgreSQL.Connection.password` and its other parameters,
`Containers.CloudVMs.DriverParameters.ClientSecret` and whatever else a driver is told. systemd hands copies to the service when
it starts (`LoadCredential=` in the unit): a changed secret needs a restart, which loses nothing. Commands that read another file
by `--config` do not look there.

`cloud-dispatcher check-config` tells everything that is wrong with both, each with file, line and key, and prints every value in
force and where it came from. It shows secrets as `set` or `not set`. It ends with 0 when the dispatcher could start (there may be
warnings), 1 when something is wrong, and 2 when it was called wrongly or a file cannot be read.

How values are written:

* durations need units (`10s`, `1m30s`, `1.5h`, `200ms`); only `0` may stand alone. Where a time-out or an interval makes no sense
  at zero, zero and less count as absent
* sizes are bytes, or a number with a decimal (`K M G T P E`) or binary (`Ki Mi Gi Ti Pi Ei`) unit and an optional `B`
* a key without a value (`null`) is absent; entries named `SAMPLE` are ignored
* of a key that stands twice the last one counts, with a warning; aliases and `<<` work
* unknown keys are warned of in `Containers.CloudVMs`, in `InstanceTypes` and in our own file; elsewhere in the cluster's file
  they are other programs' business

*chosen by us* in the tables: while the key is absent the dispatcher finds its own pace. When it is present it is obeyed exactly:
rates are ceilings, and intervals are the longest gap.

*reload*: a changed value takes effect when the settings are read again; *restart*: when the dispatcher starts again.
"""

TYPES = """\
## Instance types

`InstanceTypes` is a mapping: name → properties. A configured `Scratch` is ignored, for it is the sum of the two others.
With `Containers.PreemptiblePriceFactor` above 0 every type that is not preemptible gets a sibling named `NAME.preemptible`;
an entry that has this name already is kept.
"""

STRUCTURES = """\
## More about some keys

* `Services.DispatchCloud.InternalURLs`: the first entry that names this host (its host name, one of its addresses, or the
  loopback) says where the management API listens, by its `ListenURL` or else by its own host and port. The dispatcher itself
  speaks plain HTTP.
* `PostgreSQL.Connection`: parameters of libpq (`host`, `port`, `user`, `password`, `dbname` and others), in any case of letters.
  Empty ones are left out. With neither `host` nor `dbname` there is no database: a lock file on this host decides who may act,
  and a dispatcher on another host would not be noticed.
* `Containers.DispatchPrivateKey`: a key with a passphrase is refused. The file has to be readable by the dispatcher's user and
  should not be by others.
* `Containers.CloudVMs.DeployRunnerBinary`: upstream's default, `/proc/self/exe`, names upstream's own program, which holds the
  runner as well. This dispatcher does not, so the runner is looked for among the files that Arvados's packages install.
* `Containers.CloudVMs.DriverParameters`: each driver describes and checks its own.
* An instance is ours when its tag `TagKeyPrefix` + `InstanceSetID` holds the uuid of a version 2 `SystemRootToken` (the part
  between the first two slashes), or else the MD5 of the whole token, as with upstream's dispatcher.
"""


def configuration_page() -> str:
    return "\n".join(
        (
            HEAD,
            "## The cluster's file\n\nPaths below `Clusters.ID`.\n",
            _table(CLUSTER_KEYS),
            TYPES,
            _table(TYPE_KEYS),
            "In `GPU` of an instance type:\n",
            _table(GPU_KEYS),
            "In `CUDA` of an instance type (the older form; `GPU` wins when both are there):\n",
            _table(CUDA_KEYS),
            "## Our own file\n",
            _table(OWN_KEYS, upstream=False),
            STRUCTURES,
        )
    )


def _table(keys: Iterable[Key], *, upstream: bool = True) -> str:
    head = ["Key", "Value and unit", "Default", *(["Upstream's default"] if upstream else []), "Takes effect", "Meaning"]
    rows = [head, ["---"] * len(head), *(_row(key, upstream=upstream) for key in keys)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(key: Key, *, upstream: bool) -> list[str]:
    used = bool(key.target) or key.kind is STRUCTURE
    value = f"{key.kind.name} ({key.kind.unit})" if key.kind.unit else key.kind.name
    default = str(Source.CHOSEN) if key.default is None else _code(key.default)
    effect = ("reload" if key.reload else "restart") if used else "no effect"
    middle = [_code(key.upstream or "")] if upstream else []
    return [f"`{key.path}`", value, default, *middle, effect, key.meaning]


def _code(text: str) -> str:
    return f"`{text}`" if text not in ("", '""') else "empty"
