"""What a process that is no member reads in the rendezvous folder. Nothing is made or changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import ProtocolError, RendezvousError
from .held_file import Files, check_folder, check_root
from .key import KEY_BYTES
from .own_folder import is_shared
from .paths import LOCK_NAME, PEER_NAME, folder_name, lock_in, root_folder
from .records import EpochRecord, decode, parse_epoch_record


class SeenObject(NamedTuple):
    """An object that living processes share."""

    name: str
    host: EpochRecord | None  # None: an election is under way
    peers: dict[str, dict[str, Any]]  # the peer files of those that live, by peer id


def seen_objects(name: str | None = None) -> Iterator[SeenObject]:
    """All objects that living processes share, or the one of a name.

    Raises `RendezvousError` for a folder that cannot be used. Of all objects, those are left out
    whose own folder cannot be used; `host` is None where it has another protocol number. Of the one
    of a name, these are errors, too: `RendezvousError` and `ProtocolError`.
    """
    root = root_folder()
    if is_shared(root) or not root.exists():
        return
    check_root(root)
    files = Files()
    paths = sorted(root.glob("*.d")) if name is None else [root / folder_name(name)]
    for path in paths:
        try:
            seen = _seen(files, path, name) if path.is_dir() else None
        except RendezvousError:
            if name is not None:
                raise
            continue
        if seen is not None:
            yield seen


def read_key() -> bytes:
    """The key of the folder; raises `RendezvousError` where it is missing or damaged."""
    path = root_folder() / "authkey"
    files = Files()
    found = files.inspect(path)
    if found is None or len(found[1]) != KEY_BYTES:
        raise RendezvousError(f"the key file {path} is missing or damaged: a peer restores it")
    files.check_secret(path)
    return found[1]


def _seen(files: Files, path: Path, name: str | None) -> SeenObject | None:
    check_folder(path)
    peers, epochs = {}, set()
    folders = [path, *files.existing_witnesses(path)]
    for each in files.listing(path):
        if match := PEER_NAME.fullmatch(each):
            found = files.inspect(path / each)
            if found is not None and found[0]:
                peers[match[1]] = decode(found[1]) or {}
    for folder in folders:
        epochs |= {int(m[1]) for m in map(LOCK_NAME.fullmatch, files.listing(folder)) if m}
    host, named = None, None
    for folder in folders if epochs else ():
        file = lock_in(folder, max(epochs))
        found = files.inspect(file)
        if found is not None:
            content = decode(found[1]) or {}
            named = named or content.get("name")
            try:
                record = parse_epoch_record(file, max(epochs), *found)
            except ProtocolError:
                if name is not None:
                    raise
                continue
            if record.held and not record.is_damaged and content.get("open", True):
                host = record
    if not peers and host is None:
        return None
    return SeenObject(name or named or path.stem, host, peers)
