"""Files of results: written whole or not at all, and each problem is one line."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class FileProblem(Exception):
    """A file cannot be used; the text names it, the reason and the way out."""


def write(path: Path, content: str | bytes) -> None:
    """Put content into a file, or leave the file as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        raise FileProblem(
            f"{path} cannot be written ({error.strerror}): make room or name another folder"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def check(path: Path) -> None:
    """Raise `FileProblem` if `write` could not write a file; nothing of it changes."""
    if path.is_dir():
        raise FileProblem(f"{path} is a folder: remove it or name another folder")
    probe = path.with_name(f".{path.name}.probe")
    write(probe, b"")
    with suppress(OSError):
        probe.unlink()
