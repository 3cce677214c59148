"""Clients that ask the management API until /run/enough is there: how many answers came, what was lost, what was told.

It is copied into the machine and uses the standard library alone.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from pathlib import Path

TOKEN = Path("/etc/cloud-dispatcher/credentials/ManagementToken").read_text(encoding="ascii").strip()
CLIENTS = 4
ENOUGH, BEGUN = Path("/run/enough"), Path("/run/hammering")
answers: list[int] = []
lost: list[str] = []
longest: list[float] = [0.0]


def ask() -> None:
    while not ENOUGH.exists():
        began_s = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", 9006, timeout=90)
        try:
            connection.request("GET", "/arvados/v1/dispatch/instances", headers={"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            answer.read()
            answers.append(answer.status)
        except OSError as error:
            lost.append(f"{type(error).__name__}: {error}")
        except http.client.HTTPException as error:
            lost.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()
        longest[0] = max(longest[0], time.monotonic() - began_s)
        BEGUN.touch()


threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
told = {"answers": len(answers), "statuses": sorted(set(answers)), "lost": lost, "longest_s": round(longest[0], 2)}
sys.stdout.write(json.dumps(told))
