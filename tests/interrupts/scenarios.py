"""Calls that are interrupted at each place, and what must be right afterwards."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from memsync import MemSync, Subscription
from memsync.testing import Cluster, Peer

from .injector import Foreign, Injection, Place, comes_from, places_of
from .sample import Choose

ROUNDS = 5  # calls in which places are looked for
PATIENCE = 5.0  # seconds that a future, a write of another thread, or a stop may take
DATA: dict[str, Any] = {"n": 0, "last": ""}
ERRORS: tuple[type[BaseException], ...] = (KeyboardInterrupt, Foreign)


class Broken(AssertionError):
    """What is wrong after an interrupt."""


def demand(condition: object, what: object) -> None:
    if not condition:
        raise Broken(what)


def in_thread(function: Callable[[], Any]) -> Any:
    """Run a function in a new thread; its result or its error."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((function(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(2 * PATIENCE)
    demand(found, "a call of another thread did not return")
    result, error = found[0]
    if error is not None:
        raise error
    return result


class Group:
    """The handle that is interrupted, and another peer of its object."""

    def __init__(self, mem: MemSync[Any], other: MemSync[Any] | Peer) -> None:
        self.mem = mem
        self.other = other
        self.tokens = (f"t{number}" for number in count())
        self.role = mem.get_status()["status"]
        self.observed: Subscription | None = None

    def add(self, mem: Any, token: str, **arguments: Any) -> None:
        update = {"$inc": {"n": 1, f"by.{token}": 1}, "$set": {"last": token}}
        mem.patch(update, timeout=PATIENCE, **arguments)

    def times(self, token: str) -> int:
        """How often a write is in the object, which is to forget it."""
        number = self.mem.snapshot(f"by.{token}") or 0
        self.mem.patch({"$unset": {f"by.{token}": ""}}, timeout=PATIENCE)
        return int(number)

    def check(self, before: int, token: str, *, least: int, most: int) -> None:
        """All go on, all copies are equal, and the write of the token is there as often as said."""
        mem, other = self.mem, self.other
        for name, write in (
            ("this thread", lambda token: self.add(mem, token)),
            ("another thread", lambda token: in_thread(lambda: self.add(mem, token))),
            ("another peer", lambda token: self.add(other, token)),
        ):
            own = next(self.tokens)
            try:
                write(own)
            except Exception as error:
                raise Broken(f"{name} cannot write: {error!r}") from error
            mem.patch({"$inc": {"n": 0}}, w="all", timeout=PATIENCE)
            demand(self.times(own) == 1, f"a write of {name} afterwards is not applied once")
        found = self.times(token)
        demand(least <= found <= most, f"applied {found} times")
        mem.patch({"$inc": {"n": 0}}, w="all", timeout=PATIENCE)
        value, theirs = mem.snapshot(), other.snapshot()
        demand(value["n"] == before + found + 3, f"{before} + {found} + 3 != {value['n']}")
        demand(mem.data == value == theirs, f"copies differ: {mem.data} {value} {theirs}")
        participant = mem._running().participant
        demand(participant.state.document == value, "the confirmed document differs")
        demand(not participant.state.torn, "torn")
        status = mem.get_status()
        demand(status["status"] == self.role, f"it is {status}")
        demand((status["pending"], status["peers"]) == (0, 1), f"it has {status}")


@contextmanager
def memory_group() -> Iterator[Group]:
    with MemSync("obj", DATA, engine="memory") as host, MemSync("obj", engine="memory") as client:
        yield Group(client, host)


@contextmanager
def memory_host() -> Iterator[Group]:
    with MemSync("obj", DATA, engine="memory") as host, MemSync("obj", engine="memory") as client:
        yield Group(host, client)


@contextmanager
def client_group() -> Iterator[Group]:
    """The handle is the client of a host in another process."""
    with Cluster() as cluster:
        host = cluster.peer(DATA)
        with MemSync("obj") as mem:
            yield Group(mem, host)


@contextmanager
def host_group() -> Iterator[Group]:
    """The handle hosts, and a peer of another process follows."""
    with Cluster() as cluster, MemSync("obj", DATA) as mem:
        yield Group(mem, cluster.peer(DATA, {"clientOnly": True}))  # this process is busy


GROUPS = {
    "client": client_group,
    "host": host_group,
    "memory client": memory_group,
    "memory host": memory_host,
}


# -- calls in a group that goes on ---------------------------------------------------------------


def patch(group: Group, token: str) -> None:
    group.add(group.mem, token)


def submit(group: Group, token: str) -> Future[int]:
    return group.mem.submit({"$inc": {"n": 1, f"by.{token}": 1}, "$set": {"last": token}})


def edit(group: Group, token: str) -> None:
    with group.mem.edit() as draft:
        draft["n"] += 1
        draft.setdefault("by", {})[token] = 1


def transact(group: Group, token: str) -> None:
    def function(draft: Any) -> None:
        draft["n"] += 1
        draft.setdefault("by", {})[token] = 1

    group.mem.transact(function)


def lock(group: Group, token: str) -> None:
    with group.mem.lock("k", timeout=PATIENCE) as held:
        group.add(group.mem, token, lock=held)


def once(group: Group, token: str) -> None:
    demand(group.mem.once(token, lambda: token, timeout=PATIENCE) == token, "another result")


def ping(group: Group, token: str) -> None:
    group.mem.ping(timeout=PATIENCE)


def changes(group: Group, token: str) -> None:
    with group.mem.changes("last") as found:
        in_thread(lambda: group.mem.patch({"$set": {"last": token}}))
        next(found)


def observe(group: Group, token: str) -> None:
    with group.mem.observe("last", lambda value: None):
        in_thread(lambda: group.mem.patch({"$set": {"last": token}}))


def observed(group: Group, token: str) -> None:
    """A write whose value is observed: the mark and the call are made by the writing thread."""
    if group.observed is None:
        group.observed = group.mem.observe("last", lambda value: None)
        group.mem.observe(lambda data: data["last"], lambda value: None)
    group.add(group.mem, token)


def result(group: Group, token: str) -> None:
    submit(group, token).result(PATIENCE)


def done(group: Group, token: str) -> Future[int]:
    future = submit(group, token)
    while not future.done():
        pass
    return future


def add_done_callback(group: Group, token: str) -> Future[int]:
    future, called = submit(group, token), threading.Event()
    in_thread(lambda: future.add_done_callback(lambda _: None))  # the dispatcher runs from here on
    future.result(PATIENCE)
    future.add_done_callback(lambda _: called.set())
    demand(called.wait(2 * PATIENCE), "the callback of a future was not called")
    return future


def wait(group: Group, token: str) -> Future[int]:
    return next(iter(futures.wait([submit(group, token)], PATIENCE).done))


def as_completed(group: Group, token: str) -> None:
    for future in futures.as_completed([submit(group, token)], PATIENCE):
        future.result()


USES: dict[str, Callable[[Group, str], Future[int] | None]] = {
    "result": result,
    "done": done,
    "add_done_callback": add_done_callback,
    "wait": wait,
    "as_completed": as_completed,
}
"""Uses of the future of a write."""

CALLS: dict[str, Callable[[Group, str], Future[int] | None]] = {
    "patch": patch,
    "submit": submit,
    **USES,
    "edit": edit,
    "transact": transact,
    "lock": lock,
    "once": once,
    "ping": ping,
    "changes": changes,
    "observe": observe,
    "observed": observed,
}
WRITES = (*CALLS.keys() - {"once", "ping", "changes", "observe"},)


def attempt(group: Group, name: str, place: Place, error: BaseException) -> bool:
    """Interrupt one call, and look at everything; whether the place was reached."""
    call, token = CALLS[name], next(group.tokens)
    before = group.mem.snapshot("n")
    others = in_thread(lambda: [group.mem.submit({"$inc": {"futures": 1}}) for _ in range(3)])
    injection = Injection(place, error)
    injection.run(lambda: call(group, token))
    if injection.result is not None and comes_from(injection.result.exception(PATIENCE), error):
        injection.was_raised = True
    for future in others:
        try:
            future.result(timeout=PATIENCE)
        except Exception as error:
            raise Broken(f"a future of another thread: {error!r}") from error
    with group.mem.lock("k", timeout=PATIENCE):
        pass  # whatever was interrupted, nobody keeps it
    if name == "once":
        once(group, token)  # nobody keeps that either
    writes = int(name in WRITES)
    group.check(before, token, least=0 if injection.was_raised else writes, most=writes)
    return injection.has_come


class Report(NamedTuple):
    """How many places were interrupted, how many of them were reached again, what was wrong."""

    places: int
    reached: int
    broken: list[str]


def interrupt_calls(group_name: str, name: str, choose: Choose, most: int = 20) -> Report:
    """Interrupt a call at the chosen ones of its places; gives up after `most` broken groups."""
    waiting = choose(_places(group_name, name))
    total, reached = len(waiting), 0
    broken: list[str] = []
    while waiting and len(broken) < most:
        try:
            with GROUPS[group_name]() as group:
                while waiting:
                    place = waiting.pop()
                    error = ERRORS[len(waiting) % len(ERRORS)]("injected")
                    reached += attempt(group, name, place, error)
        except Exception as error:
            broken.append(f"{group_name}, {name}, {place}: {error!r}")
    return Report(total, reached, broken)


def _places(group_name: str, name: str) -> Counter[Place]:
    """The places that some calls reach: which ones depends on what arrives when."""
    found: Counter[Place] = Counter()
    with GROUPS[group_name]() as group:
        for _ in range(ROUNDS):
            group.mem.patch({"$set": {"last": ""}})
            call = partial(CALLS[name], group, next(group.tokens))
            found.update(places_of(call).keys())
    if name in USES:  # `submit` itself is a call of its own
        return Counter({place: found[place] for place in found if not place.is_in(MemSync.submit)})
    return found
