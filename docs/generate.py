"""Writes the pages of docs/ that are made from tables in the code, or tells which of them are stale (--check).

A page is never edited by hand: change the table and run ``make docs``. A row of PAGES names the function that returns the page.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent

PAGES = {
    "states.md": "dispatcher.core.transitions.document:states_page",
    "metrics.md": "dispatcher.meters.page:metrics_page",
    "openapi.json": "dispatcher.web.description:text",
    "monitoring/grafana.json": "dispatcher.meters.board:board_page",
    "configuration.md": "dispatcher.config.reference:configuration_page",
}


def made(source: str) -> str | None:
    """The text of a page, or None while the room that makes it is not built."""
    module, _, function = source.partition(":")
    if importlib.util.find_spec(module) is None:
        return None
    make = getattr(importlib.import_module(module), function, None)
    return None if make is None else make()


def stale() -> dict[str, str]:
    """Page → text that it should hold, for those that hold another."""
    texts = {page: made(source) for page, source in PAGES.items()}
    return {page: text for page, text in texts.items() if text is not None and text != current(page)}


def current(page: str) -> str | None:
    path = DOCS / page
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str]) -> int:
    pages = stale()
    if "--check" in arguments:
        for page in pages:
            sys.stderr.write(f"docs/{page} is stale: run `make docs` and commit the result\n")
        return 1 if pages else 0
    for page, text in pages.items():
        (DOCS / page).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote docs/{page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
