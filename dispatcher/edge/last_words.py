"""The end of what a container's runner wrote: from the instance's journal, or from the file beside its lock file.

One command with a bound of its own on both sides, because it is asked of instances that are ill. What cannot be had is empty.
"""

from __future__ import annotations

import shlex

from dispatcher.edge.redact import Redactor, last_lines, readable
from dispatcher.edge.runner import quoted, sudo

LINES, BYTES = 50, 16_000
MARGIN_BYTES = 512  # fetched besides and thrown away: a secret that was cut in two is not known again
TIMEOUT_DIAL_S, TIMEOUT_THERE_S, TIMEOUT_S = 1.5, 3, 3.5  # dial and command together: 5 s
JOURNAL_LINES = 5000  # of all runners of the instance: among them those of one are looked for

# The first argument is the uuid. A journal's lines are told apart by their processes: the runner's own, which its lock file
# names as long as it is there, and every one that has ever named the container.
SCRIPT = """\
log=${CRUNCH_RUN_LOCK_DIR:-/var/lock}/crunch-run-$0
if test -s "$log.log"; then tail -c BYTES "$log.log"; exit; fi
command -v journalctl >/dev/null || exit 0
pid=$(sed -n 's/.*"PID" *: *\\([0-9][0-9]*\\).*/\\1/p' "$log.lock" 2>/dev/null)
journalctl --quiet --no-pager --output=short-iso --lines=JOURNAL_LINES --identifier=crunch-run 2>/dev/null |
awk -v uuid="$0" -v pid="$pid" '
  { match($0, /crunch-run\\[[0-9]+\\]/); from[NR] = substr($0, RSTART, RLENGTH); line[NR] = $0 }
  index($0, uuid) && RLENGTH > 0 { ours[from[NR]] = 1 }
  END { if (pid != "") ours["crunch-run[" pid "]"] = 1; for (n = 1; n <= NR; n++) if (from[n] in ours) print line[n] }
' | tail -n LINES | tail -c BYTES
"""


def output_command(user: str, uuid: str) -> str:
    """Prints it, and ends in time also where the instance's disk hangs."""
    script = SCRIPT.replace("JOURNAL_LINES", str(JOURNAL_LINES)).replace("LINES", str(LINES))
    script = script.replace("BYTES", str(BYTES + MARGIN_BYTES))
    return f"{sudo(user)}timeout {TIMEOUT_THERE_S} sh -c {quoted(script)} {shlex.quote(uuid)}"


def shown(output: bytes, redactor: Redactor, secret: str) -> str:
    """For people: the last lines, without secrets and control characters, bounded. ``secret``: of this container alone."""
    kept = output[MARGIN_BYTES:] if len(output) >= BYTES + MARGIN_BYTES else output
    text = redactor.blank(kept.decode("utf-8", "replace"), secret)
    return last_lines(readable(text), lines=LINES, limit_bytes=BYTES)
