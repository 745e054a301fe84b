"""The ``memsync`` command. It works in the plain install; rich, if installed, adds colour."""

from .app import main

__all__ = ["main"]
