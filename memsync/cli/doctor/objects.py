"""Looking into the folder of one object: who holds what, and does the host answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import MemSyncError
from ...manager.channel import ChannelLost
from ...manager.contents import Address, decode, to_address
from ...manager.files import TEMPORARY_AGE, Files, check_folder
from ...manager.names import LOCK_NAME, PEER_NAME, SOCKET_NAME, TEMPORARY, folder_name, short_folder
from ...manager.wire import knock
from .facts import Answer, Lock, PeerFile, Process, Rendezvous, SharedObject
from .system import process


def complaint(check: Callable[[], None]) -> str | None:
    """What a check complains of, None where it does not."""
    try:
        check()
    except MemSyncError as error:
        return str(error)
    return None


class ObjectLook:
    """One look into an object's folder."""

    def __init__(self, place: Path, files: Files, name: str | None) -> None:
        self._place = place
        self._files = files
        self._name = name
        self._unreadable: list[str] = []

    def look(self, key: bytes | None, patience: float) -> SharedObject:
        """What there is; the host is asked where there is one, and a key."""
        problem = complaint(lambda: check_folder(self._place))
        if problem is not None:
            self._unreadable.append(problem)
        names = self._listing(self._place)
        witnesses = self._files.existing_witnesses(self._place) if problem is None else []
        locks = [*self._locks(self._place, names)]
        for folder in witnesses:
            locks += self._locks(folder, self._listing(folder), is_witness=True)
        peers = [
            self._peer(match[1], found)
            for name, match in _matching(PEER_NAME, names)
            if (found := self._inspect(self._place / name)) is not None
        ]
        seen = SharedObject(
            self._name or self._real_name(names),
            str(self._place),
            locks=tuple(locks),
            peers=tuple(peers),
            rendezvous=self._rendezvous(names),
            sockets=tuple(self._sockets(names)),
            temporaries=tuple(self._temporaries(names)),
        )
        answer = _ask(seen.highest, key, patience) if problem is None else None
        unreadable = tuple(self._unreadable)
        return SharedObject(**{**vars(seen), "answer": answer, "unreadable": unreadable})

    def _listing(self, folder: Path) -> list[str]:
        try:
            return sorted(self._files.listing(folder))
        except OSError as error:
            self._unreadable.append(f"{folder} cannot be listed: {error.strerror}")
            return []

    def _inspect(self, path: Path) -> tuple[bool, bytes] | None:
        try:
            return self._files.inspect(path)
        except (MemSyncError, OSError) as error:
            self._unreadable.append(str(error))
            return None

    def _real_name(self, names: list[str]) -> str:
        for name in names:
            if name == "rendezvous.json" or LOCK_NAME.fullmatch(name):
                found = self._inspect(self._place / name)
                said = (decode(found[1]) or {}).get("name") if found is not None else None
                if isinstance(said, str) and folder_name(said) == self._place.name:
                    return said
        return self._place.name.removesuffix(".d")

    def _locks(self, folder: Path, names: list[str], *, is_witness: bool = False) -> Iterator[Lock]:
        for name, match in _matching(LOCK_NAME, names):
            found = self._inspect(folder / name)
            if found is None:
                continue
            held, content = found[0], decode(found[1])
            said = content or {}
            pid = _number(said.get("pid"))
            yield Lock(
                int(match[1]),
                held,
                is_witness,
                is_damaged=content is None or pid is None or _address(said) is None,
                is_open=bool(said.get("open", True)),
                protocol=_number(said.get("protocol")),
                peer=_text(said.get("id")),
                process=_process(pid, held),
                address=_address(said),
                since=_seconds(said.get("since")),
                silent_for=max(time.time() - self._files.last_beat(folder / name) / 1e9, 0.0),
            )

    def _peer(self, peer: str, found: tuple[bool, bytes]) -> PeerFile:
        content = decode(found[1])
        said = content or {}
        roles = said.get("roles")
        pid = _number(said.get("pid"))
        return PeerFile(
            peer,
            found[0],
            is_damaged=content is None or pid is None,
            process=_process(pid, found[0]),
            roles=tuple(map(str, roles)) if isinstance(roles, list) else (),
            max_writers=_number(said.get("maxWriters")),
            client_only=said.get("clientOnly") is True,
            server_only=said.get("serverOnly") is True,
            obstacle=_text(said.get("obstacle")),
        )

    def _rendezvous(self, names: list[str]) -> Rendezvous | None:
        if "rendezvous.json" not in names:
            return None
        found = self._inspect(self._place / "rendezvous.json")
        said = (decode(found[1]) if found is not None else None) or {}
        python, memsync = _text(said.get("python")), _text(said.get("memsync"))
        return Rendezvous(_text(said.get("id")) or "", memsync, python)

    def _sockets(self, names: list[str]) -> Iterator[tuple[int, str]]:
        short = short_folder(self._place)
        for folder, listed in ((self._place, names), (short, self._listing(short))):
            for name, match in _matching(SOCKET_NAME, listed):
                yield int(match[1]), str(folder / name)

    def _temporaries(self, names: list[str]) -> Iterator[str]:
        for name in names:
            with suppress(OSError):
                path = self._place / name
                is_ours = name.startswith(TEMPORARY)
                if is_ours and time.time() - path.stat().st_mtime > TEMPORARY_AGE:
                    yield str(path)


def _ask(lock: Lock | None, key: bytes | None, patience: float) -> Answer | None:
    if lock is None or not lock.held or lock.address is None or key is None:
        return None
    begin = time.monotonic()
    try:
        knock(lock.address, key, timeout=patience)
    except (MemSyncError, ChannelLost, OSError) as error:
        return Answer(error=str(error))
    return Answer(seconds=time.monotonic() - begin)


def _matching(pattern: Any, names: list[str]) -> list[tuple[str, Any]]:
    return [(name, match) for name in names if (match := pattern.fullmatch(name))]


def _process(pid: int | None, held: bool) -> Process | None:
    """Of a free file the number says nothing: it may be another process's by now."""
    return process(pid) if pid is not None and held else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(value: object) -> float | None:
    """Seconds since 1970, if it can be that."""
    return float(value) if isinstance(value, int | float) and 0 < value < 1e11 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _address(content: dict[str, Any]) -> Address | None:
    with suppress(ValueError):
        return to_address(content.get("address"))
    return None
