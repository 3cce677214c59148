"""``python -m dispatcher``: the command line, also where its script is not installed."""

from __future__ import annotations

from dispatcher.cli import main

if __name__ == "__main__":
    main(prog_name="cloud-dispatcher")
