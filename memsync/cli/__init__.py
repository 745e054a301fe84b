"""The ``memsync`` command. What it needs beyond memsync itself is the extra ``cli``."""

from __future__ import annotations

import sys

EXTRA = ("typer", "rich")


def main() -> None:
    """Run the command line; without the packages of the extra, say how to get them."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA:
            raise
        sys.exit(f"the memsync command needs {package}: run pip install 'memsync[cli]'")
    app()
