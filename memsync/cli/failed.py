"""The failure of a command that is no bad input."""

from __future__ import annotations


class Failed(Exception):
    """The command cannot go on; the message says why and what to do."""
