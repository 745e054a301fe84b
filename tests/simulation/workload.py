"""What the users of the processes do: writes of many kinds, each with a tag that identifies it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from memsync.errors import MemSyncError
from memsync.manager.client.link import Link
from memsync.manager.platform.task import Task
from memsync.replication.kinds.method import PeerRecord, stating, wanting
from memsync.runtime.call import Call
from memsync.runtime.futures import WriteFuture

from .history import Write
from .thread import Decided, Thread

if TYPE_CHECKING:
    from .process import Process

ROWS = [{"id": name, "v": [name, 0]} for name in ("r-1", "r-2", "r-3")]
FOUNDING: dict[str, Any] = {
    "n": 0,
    "log": {},
    "s": {},
    "c": {},
    "q": [],
    "owner": None,
    "same": 1,
    "rows": ROWS,
}
FIELDS = "abc"
KINDS = (
    *("inc", "set", "unset", "parent", "max", "queue", "pop", "names", "counter", "claim"),
    *("release", "nothing", "event", "presence"),
    *("row", "insert", "take"),
    "lock",  # see `lock_users`
)
ROW_KINDS = frozenset({"row", "insert", "take"})
BY_INDEX = 0.15  # share of the writes that name a row by its index
MAX_ROWS = 6
METHODS = 0.05  # share of the writes that change the directory of calls
TIMEOUT = 20.0  # seconds
MAX_PENDING = 40
EMITTING = 0.1  # share of the writes that are an event
STATING = 0.05  # share of those that change the presence of their peer
CARRYING = 0.2  # share of the other writes that carry an event as well
WAITING = 0.35  # share of the writes whose user waits
MAX_WAITING_USERS = 3  # of a process


def update_of(chance: random.Random, number: int, who: str) -> tuple[str, Any, Any]:
    """Some update: its kind, itself, and a condition."""
    field = chance.choice(FIELDS)
    match chance.randrange(14):
        case 0 | 1 | 2:
            return "inc", {"$inc": {"n": 1}}, None
        case 3 | 4:
            return "set", {"$set": {f"s.{field}": number}}, None
        case 5:
            return "unset", {"$unset": {f"s.{field}": ""}}, None
        case 6:
            return "parent", {"$set": {"s": {field: number}}}, None
        case 7:
            return "max", {"$max": {"top": number}}, None
        case 8:
            return "queue", {"$push": {"q": {"$each": [number], "$slice": -5}}}, None
        case 9:
            return "pop", {"$pop": {"q": -1}}, None
        case 10:
            return "names", {"$addToSet": {"names": field}}, None
        case 11:
            value: Any = "text" if chance.random() < 0.3 else number
            counter = f"c.{field}"
            kind = {"$inc": {counter: 1}} if chance.random() < 0.6 else {"$set": {counter: value}}
            return "counter", kind, None
        case 12:
            if chance.random() < 0.5:
                return "claim", {"$set": {"owner": who}}, {"owner": None}
            return "release", {"$set": {"owner": None}}, {"owner": who}
    return "nothing", {"$set": {"same": 1}}, None


def by_index(chance: random.Random, rows: Sequence[Any], number: int) -> tuple[str, Any]:
    """An RFC 6902 list that names a row of the view by its index, and its kind.

    The value of a row begins with the id of the row for which it is meant.
    """
    choice, size = chance.randrange(3), len(rows)
    if size < 2 or (choice == 0 and size < MAX_ROWS):
        row = {"id": f"r{number}", "v": [f"r{number}", 0]}
        return "insert", [
            {"op": "add", "path": f"/rows/{chance.randrange(size + 1)}", "value": row}
        ]
    at = chance.randrange(size)
    if choice == 1:
        return "take", [{"op": "remove", "path": f"/rows/{at}"}]
    value = [rows[at]["id"], number]
    return "row", [{"op": "replace", "path": f"/rows/{at}/v", "value": value}]


def directory_change(chance: random.Random, number: int, peers: Sequence[str]) -> Any:
    """A peer states a method with the number of the write, or wants some peer's listener."""
    if chance.random() < 0.3:
        return wanting(chance.choice(peers))
    address = f"/{number}.sock" if chance.random() < 0.5 else None
    return stating(PeerRecord(address, {f"m.{number}": ""}))


def write(
    process: Process,
    chance: random.Random,
    number: int,
    kinds: Sequence[str] = KINDS,
    *,
    waits: bool | None = None,
    interrupted_after: int = -1,
) -> Thread | None:
    """Have a user of a process write once, something of the kinds given.

    A third of the writes are made by a thread that waits for the outcome, unless `waits` says
    which, the others by `submit`. Returns the thread; `interrupted_after` is in lines.
    """
    participant = process.participant
    if (
        process.ended
        or process.leaving
        or participant.writer.pending >= MAX_PENDING
        or not process.started
    ):
        return None
    kind, update, where = update_of(chance, number, process.name)
    while kind not in kinds:
        kind, update, where = update_of(chance, number, process.name)
    w: Any = "majority" if chance.random() < 0.1 else 1
    made = Write(f"<{number}>", process.name, participant.id, kind, update, w)
    made.is_tagged = kind != "nothing" and chance.random() >= 0.1
    if waits is None:
        waits = chance.random() < WAITING and len(process.waiting_users) < MAX_WAITING_USERS
    rows = process.world.streams["rows"]  # of its own: the other draws of a seed stay
    # A thread that waits begins later, when another one may have written: its index would be old.
    if not waits and ROW_KINDS.issubset(kinds) and rows.random() < BY_INDEX:
        kind, update = by_index(rows, participant.replica.view.get("rows", []), number)
        made.kind, made.update, made.is_tagged, where = kind, update, False, None
    events = process.world.streams["events"]  # likewise
    choice = events.random() if "event" in kinds else 1
    if choice < STATING + EMITTING:
        kind, update, where = "event", None, None
        if choice < STATING:
            fields = {"n": number, events.choice(FIELDS): events.choice([None, number])}
            kind, update = "presence", fields
        made.kind, made.update, made.is_tagged = kind, update, False
    elif not waits and (methods := process.world.streams["methods"]).random() < METHODS:
        peers = [each.participant.id for each in process.world.processes]
        kind, update, where = "method", directory_change(methods, number, peers), None
        made.kind, made.update, made.is_tagged = kind, update, False
    system = ("presence", "method")
    made.emits = kind == "event" or (kind not in system and events.random() < CARRYING)
    if made.is_tagged:
        push = {**update.get("$push", {}), f"log.{process.name}": made.tag}
        update = {**update, "$push": push}
    deadline = process.driver.platform.monotonic() + TIMEOUT
    sort = kind if kind in ("event", "presence", "method") else "patch"
    event = (kind, made.tag) if made.emits else None
    call = Call(where, w=w, deadline=deadline, kind=sort, event=event)
    if waits:
        process.world.note(process.name, f"writes {made.tag} {kind} and waits")
        task, on_end = _wait(process, made, update, call), partial(_end_of_wait, process, made)
        return process.spawn(task, on_end, interrupted_after)
    future = WriteFuture(lambda callback, done: callback(done))
    process.world.note(process.name, f"writes {made.tag} {kind}")
    process.history.invoked(process, made, future)
    made.number = participant.replica.writes.next_number
    try:
        participant.writer.submit(update, call, future)
    except MemSyncError as error:
        made.outcome, made.error = error.outcome, type(error).__name__
    return None


def _wait(process: Process, made: Write, update: Any, call: Call) -> Task[None]:
    """What `Writer.patch` does, as a task."""
    writer, monotonic = process.participant.writer, process.driver.platform.monotonic
    fired = process.world.fired
    process.history.writes.append(made)
    made.number = process.participant.replica.writes.next_number
    write = writer.propose(update, call, None)
    process.history.follow(process, made, write)
    while not write.done and monotonic() < call.deadline:
        uplink = writer.uplink
        if isinstance(uplink, Link):
            try:
                yield from uplink.waiting(write, call.deadline)
            except KeyboardInterrupt:
                if uplink._stream._reader == process.task_id:
                    fired["a reader is interrupted"] += 1
                uplink.on_interrupt()
                raise
            fired["a wait on the link ends with its answer"] += write.done
        decided: Any = Decided(write, call.deadline - monotonic())
        yield decided
    writer.result(write, TIMEOUT)


def _end_of_wait(process: Process, made: Write, error: BaseException | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        made.is_abandoned = True
        process.world.note(process.name, f"the user of {made.tag} was interrupted")
    elif isinstance(error, MemSyncError):
        if made.outcome == "pending":
            process.history.decided_as(process, made, None, error)
    elif error is not None:
        process.history.user_failed(process, made, error)
