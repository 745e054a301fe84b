"""The ``memsync`` command. It works in the plain install; rich, if installed, adds colour.

`table` has the commands and their arguments, `commands` one module for each of them.
"""

from .app import main

__all__ = ["main"]
