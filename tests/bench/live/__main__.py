"""``python -m tests.bench.live [SCENE ...] [--interval TIME] [--light]``: a line for each figure, then one JSON object
as the last line."""

from __future__ import annotations

import argparse
import json
import os
import time

from tests.bench.live import light
from tests.bench.live.house import house
from tests.bench.live.scenes import SCENES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live", description="How fast the running dispatcher reacts.")
    usual = [name for name in SCENES if not name.startswith("fleet")]
    parser.add_argument("scenes", nargs="*", default=usual, help=", ".join(SCENES))
    parser.add_argument("--interval", default="", help="between polls and between probes, named in the configuration: 1s, 100ms")
    parser.add_argument("--light", action="store_true", help="with SSH servers that cost a third, which have to be built")
    options = parser.parse_args()
    if options.light and (reason := light.missing()):
        parser.error(reason)
    figures: dict[str, float] = {}
    for name in options.scenes:
        scene, made, told = SCENES[name]
        began_s = time.monotonic()
        with house(interval=options.interval, is_light=options.light, **made) as here:  # type: ignore[arg-type]
            found = scene(here, **told)
        print(f"{name} ({time.monotonic() - began_s:.0f} s, load {os.getloadavg()[0]:.1f})")
        for figure, value in found.items():
            print(f"  {figure:44s} {value:10.3f}", flush=True)
        figures |= {f"{name}.{figure}": round(value, 4) for figure, value in found.items()}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
