"""A toy dispatcher behind the real server, started as a process: ``python -m tests.web.toy FOLDER [name=value …]``.

It writes what happens to it into FOLDER/events, one word and the process id per line, and its addresses into FOLDER/listening.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dispatcher.web.app import make_app
from dispatcher.web.serve import Serving, serve
from tests.web.fakes import TOKEN, FakeHealth, FakeView


class Toy:
    """A daemon with one loop, which beats until it is stopped."""

    def __init__(self, folder: Path, options: Mapping[str, str]) -> None:
        self._folder = folder
        self._options = options
        self._stopped = threading.Event()
        self._beat_s = time.monotonic()
        self._view = FakeView(judged=FakeHealth(ready=False, problem="the toy has not begun"))
        self._management = make_app(self._view, TOKEN)
        self._loop = threading.Thread(target=self._run, name="toy-loop", daemon=True)
        self.note("built")

    def note(self, word: str) -> None:
        with (self._folder / "events").open("a") as events:
            events.write(f"{word} {os.getpid()}\n")

    def app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/pid":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(os.getpid()).encode()]
        if path == "/slow":
            self.note("slow")
            time.sleep(float(self._options.get("slow", "1.5")))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"slow but sure"]
        return self._management(environ, start_response)

    def start(self) -> None:
        self.note("started")
        self._loop.start()

    def stop(self, deadline_s: float) -> None:
        self._stopped.set()
        self._loop.join(deadline_s)
        time.sleep(float(self._options.get("stop", "0")))
        self.note("stopped")

    def reload(self) -> None:
        self.note("reloaded")
        if self._options.get("reload") == "fails":
            raise ValueError("the new settings are wrong")

    def heartbeats(self) -> dict[str, float]:
        return {"toy-loop": time.monotonic() - self._beat_s}

    def standing(self) -> str:
        return "toy"

    def _run(self) -> None:
        ready_file = self._folder / "may-be-ready"
        while not self._stopped.wait(0.05):
            self._beat_s = time.monotonic()
            if ready_file.exists():
                self._view.judged = FakeHealth()


def main(folder: Path, options: Mapping[str, str]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(process)d %(name)s %(message)s %(reqQuery)s", force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter("%(process)d %(name)s %(message)s %(reqQuery)s", defaults={"reqQuery": ""}))

    def build() -> Toy:
        if options.get("build") == "fails":
            raise RuntimeError("the toy cannot be built")
        return Toy(folder, options)

    def announce(addresses: tuple[str, ...]) -> None:
        made = folder / "listening.new"
        made.write_text("\n".join(addresses))
        made.rename(folder / "listening")

    serving = Serving(
        listen=(options.get("listen", "127.0.0.1:0"),), graceful_s=8, stop_s=5.0, silence_s=int(options.get("silence", "10")),
        client_patience_s=int(options.get("patience", "15")), announce=announce,
    )  # fmt: skip
    serve(build, serving)


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(argument.split("=", 1) for argument in sys.argv[2:]))
