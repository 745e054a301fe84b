"""What the facts mean: findings, each with a way out where one is needed. Pure.

``wrong`` is what somebody has to do something about; ``note`` explains, or passes by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal

from .facts import Facts, Limit, Lock, PeerFile, Process, SharedObject, Versions

Level = Literal["fine", "note", "wrong"]

FOLDER = "folder"
SYSTEM = "system"


@dataclass(frozen=True)
class Finding:
    """One thing that was found out, about ``folder``, ``system`` or ``object NAME``."""

    level: Level
    about: str
    text: str
    advice: str = ""


def judge(facts: Facts) -> list[Finding]:
    """All that the facts mean; a part that cannot be judged is a finding itself."""
    found = [Finding("wrong", SYSTEM, f"not looked at: {each}") for each in facts.failures]
    found += _guarded(FOLDER, partial(_of_folder, facts))
    for each in facts.objects:
        found += _guarded(_about(each), partial(_of_object, each, facts))
    found += _guarded(SYSTEM, partial(_of_system, facts))
    order = {FOLDER: 0, SYSTEM: 2}
    return sorted(found, key=lambda finding: (order.get(finding.about, 1), finding.about))


def is_well(findings: list[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(finding.level != "wrong" for finding in findings)


def _guarded(about: str, part: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        for finding in part():  # one by one, so that those before an error count
            found.append(finding)
    except Exception as error:  # an error of the doctor's must not hide what else there is
        found.append(Finding("wrong", about, f"not judged: {type(error).__name__}: {error}"))
    return found


def _about(each: SharedObject) -> str:
    return f"object {each.name}"


# -- folder and system -----------------------------------------------------------------------------


def _of_folder(facts: Facts) -> Iterator[Finding]:
    folder = facts.folder
    why = f"named by {folder.chosen_by}" if folder.chosen_by else "the default"
    if folder.problem:
        yield Finding("wrong", FOLDER, folder.problem)
    elif not folder.exists:
        yield Finding("fine", FOLDER, f"{folder.path} ({why}) is not there yet: a start makes it")
    else:
        yield Finding("fine", FOLDER, f"{folder.path} ({why}) can be used")
    if folder.key_problem:
        yield Finding("wrong", FOLDER, folder.key_problem)
    if folder.ignored:
        text = f"the temp folder {folder.ignored} cannot be written to, so another one is used"
        yield Finding("wrong", FOLDER, text, "make it, or set MEMSYNC_DIR for all processes")
    yield from _of_objects_missing(facts)
    for other, names in folder.others:
        text = f"{other} is another folder of yours, with {_listed(names)}"
        advice = "processes meet in one folder only: set MEMSYNC_DIR to it to look there"
        yield Finding("note", FOLDER, text, advice)


def _of_objects_missing(facts: Facts) -> Iterator[Finding]:
    deleted = [each for each in facts.deleted if facts.asked_for in (None, each[0])]
    for name, process in deleted:
        yield Finding(
            "wrong",
            FOLDER,
            f"all files of the object {name!r} were deleted, while {_who(process)} hosts it",
            f"it makes them again within its network.poll: run 'kill -CONT {process.pid}' if it is "
            "stopped",
        )
    if facts.objects or deleted:
        return
    if facts.asked_for is None:
        yield Finding("fine", FOLDER, "nobody shares an object here")
        return
    yield Finding(
        "wrong",
        FOLDER,
        f"nobody shares an object named {facts.asked_for!r} here",
        "start a peer, or set MEMSYNC_DIR to the folder that the peers use",
    )


def _of_system(facts: Facts) -> Iterator[Finding]:
    yield Finding("fine", SYSTEM, _versions(facts.versions))
    for limit in facts.limits:
        yield _of_limit(limit)
    if facts.orphans:
        yield Finding(
            "note",
            SYSTEM,
            f"witnesses of folders that are gone: {_listed(facts.orphans)}",
            "they may be removed, unless a container uses them that has other folders",
        )


def _of_limit(limit: Limit) -> Finding:
    if limit.used is None:
        is_low, text = limit.most < limit.spare, f"{limit.name}: {limit.most}"
    else:
        is_low = limit.most - limit.used < limit.spare
        text = f"{limit.name}: {limit.used} of {limit.most} in use"
    if not is_low:
        return Finding("fine", SYSTEM, text)
    return Finding("wrong", SYSTEM, f"{text}: {limit.consequence}", limit.advice)


def _versions(versions: Versions) -> str:
    return (
        f"memsync {versions.memsync} (protocol {versions.protocol}), Python {versions.python}, "
        f"{versions.system}"
    )


# -- an object -------------------------------------------------------------------------------------


def _of_object(each: SharedObject, facts: Facts) -> Iterator[Finding]:
    about = _about(each)
    for text in each.unreadable:
        yield Finding("wrong", about, text)
    lock = each.highest
    if lock is not None and lock.held:
        yield from _of_host(each, lock, facts)
    else:
        yield from _of_no_host(each, lock)
    for peer in each.peers:
        if peer.held and (lock is None or not lock.held or peer.id != lock.peer):
            yield _of_peer(about, peer)
    yield from _of_places(each)
    yield from _of_leftovers(each, lock)


def _of_host(each: SharedObject, lock: Lock, facts: Facts) -> Iterator[Finding]:
    about = _about(each)
    if lock.is_damaged:
        text = f"the lock of epoch {lock.epoch} is held by a living process, but damaged"
        yield Finding("wrong", about, text, "end the process that holds it")
        return
    assert lock.process is not None
    who = _who(lock.process)
    role = "host" if lock.is_open else "candidate for host"
    since = f", since {_time(lock.since)}" if lock.since else ""
    text = f"{role}: {who}, peer {lock.peer}, epoch {lock.epoch}{since}, at {_place(lock)}"
    yield Finding("fine", about, text)
    if lock.protocol != facts.versions.protocol:
        text = f"the host speaks protocol {lock.protocol}, this memsync {facts.versions.protocol}"
        yield Finding("wrong", about, text, "use one version of memsync in all processes")
    yield from _of_life(each, lock, lock.process, facts)
    yield from _of_host_files(about, lock.process)
    yield from _of_rendezvous(each, lock, facts)


def _of_life(each: SharedObject, lock: Lock, process: Process, facts: Facts) -> Iterator[Finding]:
    about, pid = _about(each), process.pid
    way_out = f"run 'kill -CONT {pid}', or end it"
    if process.is_frozen:
        others = [peer for peer in each.peers if peer.held and peer.id != lock.peer]
        until = " until it is replaced" if any(map(_can_host, others)) else ""
        text = f"the host is stopped (state {process.state}): writes wait{until}"
        yield Finding("wrong", about, text, way_out)
    elif lock.silent_for > facts.lease:
        text = f"the host gave no sign of life for {lock.silent_for:.1f} s"
        advice = f"is process {pid} busy, or frozen? Look at its stacks, or end it"
        yield Finding("wrong", about, text, advice)
    if each.answer is None:
        yield Finding("note", about, "the host was not asked, for lack of a usable key or folder")
    elif each.answer.error is not None:
        text = f"the host does not answer: {each.answer.error}"
        yield Finding("wrong", about, text, "" if process.is_frozen else f"end process {pid}")
    elif each.answer.seconds is not None:
        yield Finding("fine", about, f"it answered in {each.answer.seconds * 1000:.1f} ms")


def _of_host_files(about: str, process: Process) -> Iterator[Finding]:
    used, most = process.open_files, process.max_open_files
    if used is not None and most is not None and most - used < 16:
        text = f"the host has {used} of at most {most} files open: peers may be kept out"
        yield Finding("wrong", about, text, "raise its limit (ulimit -n) and start it anew")


def _of_rendezvous(each: SharedObject, lock: Lock, facts: Facts) -> Iterator[Finding]:
    about, said = _about(each), each.rendezvous
    if all(other.is_witness for other in each.locks if other.epoch == lock.epoch):
        text = "the host's lock was deleted, its witness is there: the host makes it again"
        yield Finding("note", about, text)
    if lock.is_open and (said is None or said.peer != lock.peer):
        text = "the rendezvous file is missing or names another host: it is written anew soon"
        yield Finding("note", about, text)
    elif said is not None and said.memsync not in (None, facts.versions.memsync):
        text = f"the host has memsync {said.memsync} (Python {said.python})"
        yield Finding("note", about, text)


def _of_no_host(each: SharedObject, lock: Lock | None) -> Iterator[Finding]:
    about = _about(each)
    living = [peer for peer in each.peers if peer.held]
    if not living:
        last = f"; the last epoch was {lock.epoch}" if lock is not None else ""
        yield Finding("fine", about, f"nobody shares it at the moment{last}")
    elif all(peer.client_only for peer in living):
        text = "there is no host, and all peers that live are clientOnly"
        yield Finding("wrong", about, text, "start a peer that may host")
    elif not any(_can_host(peer) for peer in living):
        text = "there is no host, and all peers that may host are stopped"
        advice = "have one of them go on (see below), end them, or start another one"
        yield Finding("wrong", about, text, advice)
    else:
        text = f"there is no host, although {len(living)} peers live"
        is_told = any(peer.obstacle for peer in living)
        instant = "an election takes an instant: look once more"
        yield Finding("wrong", about, text, "see what its peers say" if is_told else instant)


def _can_host(peer: PeerFile) -> bool:
    return not peer.client_only and not (peer.process is not None and peer.process.is_frozen)


def _of_peer(about: str, peer: PeerFile) -> Finding:
    if peer.is_damaged or peer.process is None:
        return Finding("note", about, f"peer {peer.id} lives, but its file is damaged")
    only = {"clientOnly": peer.client_only, "serverOnly": peer.server_only}
    traits = [*peer.roles, *(word for word, is_so in only.items() if is_so)] or ["reads only"]
    text = f"peer {peer.id}: {_who(peer.process)}, {', '.join(traits)}"
    if not peer.process.is_frozen and peer.obstacle:
        return Finding("wrong", about, f"{text}; it has no host: {peer.obstacle}")
    if not peer.process.is_frozen:
        return Finding("fine", about, text)
    keeps = ", and keeps its writer's place" if "writer" in peer.roles else ""
    advice = f"run 'kill -CONT {peer.process.pid}', or end it"
    return Finding("wrong", about, f"{text}: it is stopped{keeps}", advice)


def _of_places(each: SharedObject) -> Iterator[Finding]:
    living = [peer for peer in each.peers if peer.held]
    limits = [peer.max_writers for peer in living if peer.max_writers is not None]
    writers = [peer for peer in living if "writer" in peer.roles]
    if not limits or len(writers) < min(limits):
        return
    names = _listed([_who(peer.process) for peer in writers if peer.process is not None])
    text = f"all {min(limits)} places for writers are taken, by {names}: one more is refused"
    advice = "end one of them, raise network.maxWriters of all, or join with peer.roles: []"
    yield Finding("note", _about(each), text, advice)


def _of_leftovers(each: SharedObject, lock: Lock | None) -> Iterator[Finding]:
    is_hosted = lock is not None and lock.held
    epoch = lock.epoch + (not is_hosted) if lock is not None else 0
    stale = {
        "files of dead peers": [peer.id for peer in each.peers if not peer.held],
        "sockets of dead hosts": [path for number, path in each.sockets if number < epoch],
        "locks of earlier epochs": sorted(
            {
                str(old.epoch)
                for old in each.locks
                if lock and old.epoch < lock.epoch and not old.held
            }
        ),
        "temporary files": list(each.temporaries),
    }
    for what, names in stale.items():
        if names:
            text = f"stale {what}: {_listed(names)}; the next host removes them"
            yield Finding("note", _about(each), text)


# -- words -----------------------------------------------------------------------------------------

_SHOWN = 3


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _who(process: Process) -> str:
    return f"process {process.pid}" + (f" ({process.program})" if process.program else "")


def _place(lock: Lock) -> str:
    if isinstance(lock.address, tuple):
        return ":".join(map(str, lock.address))
    return str(lock.address)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
