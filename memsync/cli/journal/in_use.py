"""Whether a living group uses a file or its journal."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ...errors import UsageError
from ...storage.segments import folder_of
from ..doctor.collect import collect

_PROC = Path("/proc")


def check_unused(path: str) -> None:
    """Raise `UsageError` if a group of this folder saves to a file, or a process journals there."""
    place = os.path.realpath(path)
    for facts in collect()["objects"]:
        for peer in facts["peers"]:
            url = (peer["storage"] or {}).get("url")
            if peer["held"] and url is not None and os.path.realpath(url) == place:
                pid = (peer["process"] or {}).get("pid")
                raise _in_use(path, f"the object {facts['name']!r}, hosted by the process {pid}")
    folder = folder_of(path)
    for entry in _PROC.glob("[0-9]*"):
        if _has_open(entry, folder):
            raise _in_use(path, f"the process {entry.name}, which has a file of {folder} open")


def _has_open(process: Path, folder: str) -> bool:
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                if os.path.dirname(os.readlink(descriptor)) == folder:
                    return True
    return False


def _in_use(path: str, by: str) -> UsageError:
    return UsageError(
        f"{path} is in use by {by}: nothing was changed; stop all processes of its group first"
    )
