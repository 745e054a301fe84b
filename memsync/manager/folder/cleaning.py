"""Removes the files that dead peers left behind in an object's folder."""

from __future__ import annotations

from pathlib import Path

from .folder import ObjectFolder
from .paths import CALLS_NAME, PEER_NAME, SOCKET_NAME, lock_in, peer_file
from .records import decode, encode


def clean_if_deserted(folder: ObjectFolder, known: int) -> None:
    """Remove the files of dead peers if no peer is alive.

    `known` is the last epoch in which the caller has seen a host. The highest lock may belong to a
    later candidate that never opened. If so, the lock is marked as opened, because the lower locks
    are removed and they said that there may be survivors.
    """
    epoch = folder.highest_epoch()
    found = folder.inspect_lock(epoch) if epoch is not None else None
    if epoch is None or found is None or found[0] or folder.living_peers():
        return
    if epoch > known and folder.last_opened() not in (0, epoch):
        content = encode({**(decode(found[1]) or {}), "open": 1})
        for each in folder.lock_folders():
            folder.files.replace(lock_in(each, epoch), content)
    clean(folder, epoch, is_over=True)
    for peer in dead_peers(folder):
        folder.forget_peer(peer)
    folder.remove_short_folder(folder.socket_address(epoch, "0"))


def dead_peers(folder: ObjectFolder) -> list[str]:
    """The ids of the peers whose files are free."""
    found = [(PEER_NAME.fullmatch(name), folder.path / name) for name in folder.listing()]
    return [match[1] for match, path in found if match and not folder.is_held(path)]


def clean(folder: ObjectFolder, epoch: int, *, is_over: bool = False) -> None:
    """Remove what dead hosts left; the host of `epoch` calls this, unless the epoch is over.

    The files of dead peers stay for a while (see `MemberLiveness`).
    """
    folders = {folder.path}
    current = folder.socket_address(epoch, "0")
    if isinstance(current, str):
        folders.add(Path(current).parent)
    was_held = False
    for lower in sorted(other for other in folder.epochs() if other < epoch):
        found = folder.inspect_lock(lower)
        is_held = found is not None and found[0]
        # A frozen host that wakes must find a later lock, or it goes on as host.
        if not is_held and not was_held:
            for each in folder.lock_folders():
                folder.files.remove(lock_in(each, lower))
        was_held = is_held
    folder.files.remove_old_temporaries(folder.path)
    for parent in folders:
        for name in folder.files.listing(parent):
            match = SOCKET_NAME.fullmatch(name)
            if match and int(match[1]) < epoch + is_over:
                folder.files.remove(parent / name)
            match = CALLS_NAME.fullmatch(name)
            if match and not folder.is_held(peer_file(folder.path, match[1])):
                folder.files.remove(parent / name)
