"""``docs/metrics.md``, made from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dispatcher.meters.catalogue import DISPATCH, SERIES
from dispatcher.meters.series import Series

HEAD = """\
# Metrics

<!-- Made from dispatcher/meters/catalogue.py by `make docs`: edit that. -->

`GET /metrics` gives them as text for Prometheus, `GET /metrics.json` as JSON; both want the `ManagementToken`:

```
scrape_configs:
  - job_name: cloud-dispatcher
    authorization: {credentials_file: /etc/prometheus/management-token}
    static_configs: [{targets: ["HOST:9006"]}]
```

A scrape reads one snapshot and holds up nobody. Counters and known labels stand at 0 from the start of the process; a process
that only waits to lead serves them too (`arvados_dispatchcloud_leading` is 0 there). Names are served as they stand here, in
the `TYPE` line as in the samples, and there are no `_created` series.
"""
UPSTREAM = """\
## Those of every Arvados dispatcher

Names, kinds and labels are the ones that the Arvados dispatcher serves, so that boards and alerts made for it keep working.

* The `category` of an instance is the first that applies: `inuse` (a runner is there), `hold`, `booting`, `unknown`; everything
  else, what shuts down included, is `idle`. The categories add up to the number of instances. An instance that is still being
  asked for counts as `booting`.
* `instance_type` is empty for a container that fits no instance type, and for one whose record was not read yet. An instance of
  a type that the configuration no longer has counts, with no price, VCPUs or memory.
* The quantiles of a summary (0.5, 0.9, 0.95, 0.99) are those of the last ten minutes, `NaN` when nothing was observed; its
  `_sum` and `_count` are of all time. Quantiles of several dispatchers cannot be added up: the histograms below can.
* A wait in `containers_longest_wait_time_seconds` and `containers_time_from_queue_to_crunch_run_seconds` counts from the
  creation of the container. What it waited for us is in `containers_longest_runnable_wait_seconds` and
  `containers_time_from_runnable_to_started_seconds`.
* `boot_outcomes` counts each instance that the cloud accepted, or that was found, once: `success` (it took containers),
  `failure` (boot time-out, broken, or the cloud gave up on it), `aborted` (destroyed by us before that), `disappeared`.
* `error` of `driver_operations` is `1` for calls that failed. `arvados_dispatchcloud_cloud_calls_total` tells how.
* `ec2_instances` and `ec2_instance_starts_total` belong to a driver that is not part of this package.
"""
FRAMED = """\
## Those of the service around it

As every Arvados service has them. Requests for metrics and health are timed, and not counted as being in progress. Of
`arvados_queue_timeout_seconds` there is never an observation: no request is turned away for having waited.
"""
OWN = """\
## Our own

Costs and prices are in the unit of `Price` in `InstanceTypes`. A series has at most 2,000 sets of labels; what comes beyond is
counted under `other`. Durations are histograms, which can be added up over dispatchers.
"""


def metrics_page() -> str:
    upstream = [series for series in SERIES if series.upstream and series.name.startswith(DISPATCH)]
    framed = [series for series in SERIES if series.upstream and not series.name.startswith(DISPATCH)]
    own = [series for series in SERIES if not series.upstream]
    parts = [HEAD, UPSTREAM, *_table(upstream), FRAMED, *_table(framed), OWN, *_table(own)]
    return "\n".join(parts)


def _table(rows: Iterable[Series]) -> Iterator[str]:
    yield "| name | kind | labels | meaning |\n|---|---|---|---|"
    for series in sorted(rows, key=lambda series: series.name):
        labels = ", ".join(f"`{label}`" for label in series.labels)
        yield f"| `{series.name}` | {series.kind.value} | {labels} | {series.meaning} |"
    yield ""
