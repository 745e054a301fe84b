"""Derive findings from facts; each check is a pure function.

``wrong`` needs an action, ``note`` explains something or passes by itself, ``ok`` is fine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

Facts = dict[str, Any]

_SHOWN = 3  # names in a list


class Finding(NamedTuple):
    """The result of a check about ``folder``, ``system`` or ``object NAME``."""

    level: str
    text: str
    advice: str = ""
    about: str = ""


Findings = Iterator[Finding]
ok, note, wrong = (partial(Finding, level) for level in ("ok", "note", "wrong"))


def check(facts: Facts) -> list[Finding]:
    """The findings of all checks."""
    found = _run((folder, objects), "folder", facts)
    object_checks = (
        *(unreadable, host, host_answers, host_files, peers, storage, writers, named_locks, stale),
    )
    for each in facts["objects"]:
        found += _run(object_checks, f"object {each['name']}", each, facts)
    return found + _run((versions, failures), "system", facts)


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(finding.level != "wrong" for finding in findings)


def _run(checks: Iterable[Callable[..., Findings]], about: str, *facts: Facts) -> list[Finding]:
    return [found._replace(about=about) for each in checks for found in each(*facts)]


# -- the folder ------------------------------------------------------------------------------------


def folder(facts: Facts) -> Findings:
    """The folder and its key, and other folders of this user."""
    if facts["key_problem"]:
        yield wrong(facts["key_problem"])
    if (seen := facts["folder"]) is None:
        return
    if seen["problem"]:
        yield wrong(seen["problem"])
    else:
        state = "is usable" if seen["exists"] else "does not exist yet: the first peer creates it"
        yield ok(f"{seen['path']} ({seen['reason']}) {state}")
    if seen["relative"] is not None:
        text = f"MEMSYNC_DIR is the relative path {seen['relative']!r}"
        yield note(text, f"processes meet from every folder with MEMSYNC_DIR={seen['path']}")
    for path, names in seen["others"].items():
        text = f"{path} is another rendezvous folder of this user, with {_listed(names)}"
        yield note(text, "processes meet only in one folder: set MEMSYNC_DIR to examine that one")


def objects(facts: Facts) -> Findings:
    """Whether the folder holds the requested object."""
    if facts["objects"] or facts["failures"]:
        return
    if facts["asked_for"] is None:
        yield ok("no object is shared here")
    else:
        text = f"no object named {facts['asked_for']!r} is shared here"
        yield wrong(text, "start a peer, or set MEMSYNC_DIR to the folder that the peers use")


# -- an object -------------------------------------------------------------------------------------


def unreadable(each: Facts, facts: Facts) -> Findings:
    """The files that the doctor cannot read."""
    yield from map(wrong, each["unreadable"])


def host(each: Facts, facts: Facts) -> Findings:
    """The host, or the reason why there is none."""
    lock, living = each["lock"], _living(each)
    if lock and lock["held"] and lock["is_damaged"]:
        text = f"a running process holds the lock of epoch {lock['epoch']}, which is damaged"
        yield wrong(text, "end the process that holds it")
    elif lock and lock["held"]:
        role = "host" if lock["is_open"] else "candidate for host"
        kinds = [peer["server_only"] for peer in living if peer["id"] == lock["id"]]
        kind = ", dedicated (serverOnly)" if any(kinds) else ""
        since = f", since {_time(lock['since'])}" if lock["since"] else ""
        yield ok(
            f"{role}: {_process(lock['process'])}, peer {lock['id']}{kind}, "
            f"epoch {lock['epoch']}{since}, at {_address(lock)}"
        )
    elif not living:
        last = f"; the last epoch was {lock['epoch']}" if lock else ""
        yield ok(f"no process shares it at the moment{last}")
    elif all(peer["client_only"] for peer in living):
        text = "there is no host, and all running peers are clientOnly"
        yield wrong(text, "start a peer that may host")
    elif not any(map(_can_host, living)):
        text = "there is no host, and all peers that may host are stopped"
        yield wrong(text, "continue one of them (see below), end them, or start another peer")
    else:
        has_reason = any(peer["obstacle"] for peer in living)
        advice = "see the reasons below" if has_reason else "an election takes an instant: retry"
        yield wrong(f"there is no host, although {len(living)} peers are running", advice)


def host_answers(each: Facts, facts: Facts) -> Findings:
    """Whether the host runs and answers."""
    if (lock := _host_lock(each)) is None:
        return
    process, answer = lock["process"], each["answer"]
    if _is_stopped(process):
        others = [peer for peer in _living(each) if peer["id"] != lock["id"]]
        until = " until another peer takes over" if any(map(_can_host, others)) else ""
        text = f"the host is stopped (state {process['state']}): writes wait{until}"
        yield wrong(text, _hint(process))
    elif lock["silent_for"] > facts["lease"]:
        text = f"the host has sent no heartbeat for {lock['silent_for']:.1f} s"
        yield wrong(text, f"process {process['pid']} is busy or hangs: examine it, or end it")
    if answer is None:
        yield note("the host was not contacted: the folder or its key is not usable")
    elif answer["error"] is None:
        yield ok(f"the host answered in {answer['seconds'] * 1000:.1f} ms")
    else:
        advice = "" if _is_stopped(process) else f"end process {process['pid']}"
        yield wrong(f"the host does not answer: {answer['error']}", advice)


def host_files(each: Facts, facts: Facts) -> Findings:
    """Whether the host runs this version of memsync."""
    if (lock := _host_lock(each)) is None:
        return
    own, theirs = facts["versions"], each["rendezvous"]
    if lock["protocol"] != own["protocol"]:
        text = f"the host speaks protocol {lock['protocol']}, this memsync {own['protocol']}"
        yield wrong(text, "use one version of memsync in all processes")
    if theirs["id"] == lock["id"] and theirs["memsync"] not in (None, own["memsync"]):
        yield note(f"the host has memsync {theirs['memsync']} (Python {theirs['python']})")


def peers(each: Facts, facts: Facts) -> Findings:
    """The other peers, and why some are stopped or have no host."""
    lock = _host_lock(each)
    for peer in _living(each):
        process = peer["process"]
        if lock is not None and peer["id"] == lock["id"]:
            continue
        if process is None:
            yield note(f"peer {peer['id']} is running, but its file is damaged")
            continue
        only = [word for word, name in _KINDS.items() if peer[name]]
        text = f"peer {peer['id']}: {_process(process)}, "
        text += ", ".join([*peer["roles"], *only]) or "read-only"
        text += ", stands by for a writer's place" if peer["stands_by"] else ""
        if _is_stopped(process):
            keeps = " and keeps its writer's place" if _writes(peer) else ""
            yield wrong(f"{text}: it is stopped{keeps}", _hint(process))
        elif peer["obstacle"]:
            yield wrong(f"{text}; it has no host: {peer['obstacle']}")
        else:
            yield ok(text)


def _writes(peer: Facts) -> bool:
    return "writer" in peer["roles"] and not peer["stands_by"]


def storage(each: Facts, facts: Facts) -> Findings:
    """Whether the host saves the object, if the object has a file."""
    host_id = lock["id"] if (lock := _host_lock(each)) is not None else None
    for peer in _living(each):
        saves = peer["storage"]
        if saves is None or peer["id"] != host_id:
            continue
        if saves["journal_error"]:
            why = f"the journal is not written: {saves['journal_error']}"
            yield wrong(why, "it is tried again by itself; writes with journal=True wait for it")
        if saves["error"]:
            yield wrong(f"the object is not saved: {saves['error']}", "it is tried again by itself")
        elif saves["fencing"] == "none":
            text = f"the object is saved to {saves['url']}, which has no fence (fencing: none)"
            yield note(text, "a suspended host may put an older object back, see docs/storage.md")
        else:
            yield ok(f"the object is saved to {saves['url']}")


def writers(each: Facts, facts: Facts) -> Findings:
    """Whether another writer can join."""
    stated = [peer["max_writers"] for peer in _living(each) if not peer["stands_by"]]
    places = [limit for limit in stated if limit is not None]
    writing = [peer for peer in _living(each) if _writes(peer)]
    if places and len(writing) >= min(places):
        pids = [str(peer["process"]["pid"]) for peer in writing if peer["process"]]
        taken = f"all {min(places)} writers' places are taken, by processes {_listed(pids)}"
        advice = "end one, raise network.maxWriters in all peers, or join with peer.roles: []"
        yield note(f"{taken}: another writer is refused", advice)


def named_locks(each: Facts, facts: Facts) -> Findings:
    """The named locks that somebody holds, and those whose holder is stopped."""
    processes = {peer["id"]: peer["process"] for peer in _living(each)}
    for name, lock in (each["named_locks"] or {}).items():
        waiting = [str(peer["pid"]) for peer in lock["queue"]]
        waits = f"; {_waits(waiting)} {_listed(waiting)}" * bool(waiting)
        holders = [
            f"process {holder['pid']}, peer {holder['id']}, since {_time(holder['since'])}, "
            f"token {holder['token']}"
            for holder in lock["holders"]
        ]
        text = f"lock {name!r}: held by {' and by '.join(holders)}{waits}"
        patient = [holder["id"] for holder in lock["holders"] if not holder["lease"]]
        found = [processes.get(peer) for peer in patient]
        stopped = [process for process in found if process and _is_stopped(process)]
        if waiting and stopped:
            yield wrong(f"{text}; its holder is stopped", _hint(stopped[0]))
        else:
            yield ok(text)


def stale(each: Facts, facts: Facts) -> Findings:
    """The files that dead processes left behind."""
    lock = each["lock"] or {"epoch": 0, "held": True}
    epoch = lock["epoch"]
    old = {each["epoch"] for each in each["locks"] if each["epoch"] < epoch and not each["held"]}
    dead = {
        "files of dead peers": [peer["id"] for peer in each["peers"] if not peer["held"]],
        "sockets of dead hosts": [
            path for path, number in each["sockets"].items() if number < epoch + (not lock["held"])
        ],
        "locks of earlier epochs": [str(number) for number in sorted(old)],
        "temporary files": each["temporaries"],
    }
    for kind, names in dead.items():
        if names:
            yield note(f"stale {kind}: {_listed(names)}; the next host removes them")


# -- the system ------------------------------------------------------------------------------------


def versions(facts: Facts) -> Findings:
    """The versions of the doctor itself."""
    seen = facts["versions"]
    name = f"memsync {seen['memsync']} (protocol {seen['protocol']})"
    yield ok(f"{name}, Python {seen['python']}, {seen['system']}")


def failures(facts: Facts) -> Findings:
    """The parts that raised an error."""
    yield from (wrong(f"not examined: {failure}") for failure in facts["failures"])


# -- what the checks share -------------------------------------------------------------------------

_KINDS = {"clientOnly": "client_only", "serverOnly": "server_only"}


def _host_lock(each: Facts) -> Facts | None:
    """The lock of the living host or candidate, if it is readable."""
    lock: Facts | None = each["lock"]
    return lock if lock and lock["held"] and not lock["is_damaged"] else None


def _living(each: Facts) -> list[Facts]:
    return [peer for peer in each["peers"] if peer["held"]]


def _is_stopped(process: Facts | None) -> bool:
    """Whether a signal or a debugger has stopped the process."""
    return process is not None and process["state"] in ("T", "t")


def _hint(process: Facts) -> str:
    return f"run 'kill -CONT {process['pid']}', or end the process"


def _can_host(peer: Facts) -> bool:
    return not peer["client_only"] and not _is_stopped(peer["process"])


def _process(process: Facts) -> str:
    return f"process {process['pid']}" + (f" ({process['program']})" if process["program"] else "")


def _address(lock: Facts) -> str:
    address = lock["address"]
    return address if isinstance(address, str) else ":".join(map(str, address))


def _waits(pids: list[str]) -> str:
    if len(pids) == 1:
        return "1 request waits, of process"
    return f"{len(pids)} requests wait, of processes"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
