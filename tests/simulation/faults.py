"""The faults: what goes wrong, and when."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .disk import ROOT, WITNESSES
from .process import Process

if TYPE_CHECKING:
    from .run import Run

Fault = Callable[["Run", random.Random], bool]
"""Does its harm and returns True, or returns False when there is no process to harm."""


def _one(run: Run, chance: random.Random, *, host: bool | None = None) -> Process | None:
    living = [p for p in run.world.processes if p.alive and not p.ended and not p.frozen]
    if host is not None:
        living = [p for p in living if p.hosts is host]
    return chance.choice(living) if living else None


def _may_die(run: Run) -> bool:
    return sum(p.is_up for p in run.world.processes) > 1


def kill_host(run: Run, chance: random.Random) -> bool:
    """Between two steps."""
    victim = _one(run, chance, host=True)
    if victim is None or not _may_die(run):
        return False
    victim.kill()
    return True


def kill_host_in_a_step(run: Run, chance: random.Random) -> bool:
    """Between any two of its calls to the platform: append, answer, push."""
    victim = _one(run, chance, host=True)
    if victim is None or not _may_die(run):
        return False
    victim.fuse, victim.on_fuse = chance.randrange(12), victim.kill
    return True


def kill_anybody_in_a_step(run: Run, chance: random.Random) -> bool:
    """A client, a candidate, a newcomer."""
    victim = _one(run, chance)
    if victim is None or not _may_die(run):
        return False
    victim.fuse, victim.on_fuse = chance.randrange(30), victim.kill
    return True


def kill_candidate(run: Run, chance: random.Random) -> bool:
    """The host dies, and so does the peer that takes over, at some step of the take-over."""
    victim = _one(run, chance, host=True)
    if victim is None or sum(p.is_up for p in run.world.processes) < 3:
        return False
    victim.kill()
    _hurt_the_next_candidate(run, chance.randrange(60), Process.kill)
    return True


def _hurt_the_next_candidate(run: Run, calls: int, harm: Callable[[Process], None]) -> None:
    for process in run.world.processes:
        if process.alive:
            process.lit_by = partial(_is_candidate, process)
            process.fuse, process.on_fuse = calls, partial(harm, process)


def _is_candidate(process: Process) -> bool:
    return process.is_candidate and not process.leaving


def _has_grant(process: Process) -> bool:
    role = process.driver.role
    return role is not None and role.granted is not None


def freeze_in_a_step(run: Run, chance: random.Random) -> bool:
    """Any process, in the middle of a step."""
    victim = _one(run, chance, host=chance.choice([True, False, None]))
    if victim is None:
        return False
    seconds = chance.choice([0.005, 0.1, 0.6, 2.5])
    victim.fuse, victim.on_fuse = chance.randrange(30), lambda: victim.freeze(seconds)
    return True


def freeze(run: Run, chance: random.Random) -> bool:
    """Any process, for shorter or longer than a recovery waits."""
    victim = _one(run, chance)
    if victim is None:
        return False
    victim.freeze(chance.choice([0.02, 0.3, 1.5, 4.0]))
    return True


def freeze_writer_and_kill_host(run: Run, chance: random.Random) -> bool:
    """A frozen writer misses the recovery."""
    victim, host = _one(run, chance, host=False), _one(run, chance, host=True)
    if victim is None or host is None or sum(p.is_up for p in run.world.processes) < 3:
        return False
    victim.freeze(chance.choice([0.5, 1.5, 3.0]))
    run.later(chance.random() * 0.1, host.kill)
    return True


def stop(run: Run, chance: random.Random) -> bool:
    """A clean exit, of a host as often as of another peer."""
    victim = _one(run, chance, host=chance.choice([True, False]))
    if victim is None or not _may_die(run):
        return False
    victim.stop()
    return True


def stop_host_and_kill_successor(run: Run, chance: random.Random) -> bool:
    """A handover whose successor dies or freezes half-way."""
    host = _one(run, chance, host=True)
    if host is None or sum(p.is_up for p in run.world.processes) < 3:
        return False
    host.stop()
    calls, dies = chance.randrange(40), chance.random() < 0.6
    for process in run.world.processes:
        if process.alive and process is not host:
            process.lit_by = partial(_has_grant, process)
            process.fuse = calls
            process.on_fuse = process.kill if dies else partial(process.freeze, 1.5)
    return True


def busy_host(run: Run, chance: random.Random) -> bool:
    """The process of the host is busy, so the host steps down for another peer."""
    host = _one(run, chance, host=True)
    if host is None or sum(p.is_up for p in run.world.processes) < 2:
        return False
    host.busy_until = run.world.now + chance.choice([0.5, 1.0, 2.0])
    return True


def busy_host_and_kill_successor(run: Run, chance: random.Random) -> bool:
    """The successor of a host that steps down, or the host itself, dies or freezes half-way."""
    if not busy_host(run, chance):
        return False
    victims = [p for p in run.world.processes if p.alive]
    calls, harm = chance.randrange(40), chance.choice([Process.kill, _freeze_long, _stop])
    for process in victims:
        process.lit_by = partial(_has_grant if chance.random() < 0.7 else _hands_over, process)
        process.fuse, process.on_fuse = calls, partial(harm, process)
    return True


def _freeze_long(process: Process) -> None:
    process.freeze(1.5)


def _stop(process: Process) -> None:
    process.stop()


def _hands_over(process: Process) -> bool:
    return process.driver.status().handing_over


def freeze_host_past_its_lease(run: Run, chance: random.Random) -> bool:
    """At any step; the host is deposed, wakes up, and must not order anything more."""
    victim = _one(run, chance, host=True)
    if victim is None or sum(p.is_up for p in run.world.processes) < 2:
        return False
    victim.fuse, victim.on_fuse = chance.randrange(20), lambda: victim.freeze(5.0)
    return True


def freeze_candidate_past_its_lease(run: Run, chance: random.Random) -> bool:
    """The host dies, and the peer that takes over freezes."""
    victim = _one(run, chance, host=True)
    if victim is None or sum(p.is_up for p in run.world.processes) < 3:
        return False
    victim.kill()
    _hurt_the_next_candidate(run, chance.randrange(60), lambda process: process.freeze(3.0))
    return True


def join(run: Run, chance: random.Random) -> bool:
    """A newcomer."""
    run.join()
    return True


def join_in_the_crash(run: Run, chance: random.Random) -> bool:
    """A newcomer in the moment in which the host dies."""
    victim = _one(run, chance, host=True)
    if victim is None or not _may_die(run):
        return False
    run.later(chance.random() * 0.003, victim.kill)
    run.later(chance.random() * 0.003, run.join)
    return True


def set_clock(run: Run, chance: random.Random) -> bool:
    """A wall clock jumps ahead or back."""
    victim = _one(run, chance)
    if victim is None:
        return False
    victim.skew += chance.choice([-3600.0, -5.0, -0.5, 0.5, 5.0, 3600.0])
    return True


def swizzle(run: Run, chance: random.Random) -> bool:
    """Links stop one by one, and are resumed in another order."""
    pipes = [
        sock.inbound
        for process in run.world.processes
        if process.alive
        for sock in process.sockets
        if not sock.closed and not sock.inbound.stopped
    ]
    if not pipes:
        return False
    chosen = chance.sample(pipes, chance.randint(1, len(pipes)))
    step = chance.choice([0.001, 0.02, 0.2])
    for index, pipe in enumerate(chosen):
        run.later(index * step, lambda p=pipe: run.hold(p))  # type: ignore[misc]
    chance.shuffle(chosen)
    begin = len(chosen) * step + chance.random() * 0.5
    for index, pipe in enumerate(chosen):
        run.later(begin + index * step, lambda p=pipe: run.resume(p))  # type: ignore[misc]
    return True


def slow_peer(run: Run, chance: random.Random) -> bool:
    """Nothing that is sent to a client arrives, while many writes are made."""
    victim = _one(run, chance, host=False)
    if victim is None:
        return False
    for sock in victim.sockets:
        if not sock.closed:
            run.hold(sock.inbound)
            seconds = chance.choice([0.3, 1.3, 2.5])
            run.later(seconds, lambda p=sock.inbound: run.resume(p))  # type: ignore[misc]
    for index in range(30):
        run.later(index * 0.01, run.write_somewhere)
    return True


def fork(run: Run, chance: random.Random) -> bool:
    """A peer with pending writes forks, and the child joins as a peer of its own.

    For a moment the child holds the parent's descriptors, so its death shows later.
    """
    victim = _one(run, chance)
    if victim is None:
        return False
    victim.held_until = run.world.now + chance.random() * 0.01
    run.join()
    if chance.random() < 0.5 and _may_die(run):
        run.later(chance.random() * 0.01, victim.kill)
    return True


def delete_files(run: Run, chance: random.Random) -> bool:
    """A cleaner of the temp folder deletes one file, or all of them."""
    disk = run.world.disk
    kept = [p.participant.id for p in run.world.processes if p.frozen]
    everything = [
        path
        for path in disk.files
        if path.startswith(f"{ROOT}/") and not any(peer in path for peer in kept)
    ]
    if not everything:
        return False
    chosen = everything if chance.random() < 0.3 else [chance.choice(everything)]
    for path in chosen:
        run.world.note("", f"deletes {path}")
        del disk.files[path]
        run.history.deleted.append(path)
    disk.changed()
    return True


def delete_files_in_the_crash(run: Run, chance: random.Random) -> bool:
    """All files are gone when the host dies and a newcomer starts."""
    victim = _one(run, chance, host=True)
    if victim is None or not _may_die(run):
        return False
    kept = [p.participant.id for p in run.world.processes if p.frozen]
    disk = run.world.disk
    for path in [*disk.files]:
        if path.startswith(f"{ROOT}/") and not any(peer in path for peer in kept):
            del disk.files[path]
            run.history.deleted.append(path)
    disk.changed()
    run.world.note("", "deletes all files")
    run.later(chance.random() * 0.003, victim.kill)
    run.later(chance.random() * 0.003, run.join)
    return True


def delete_witnesses(run: Run, chance: random.Random) -> bool:
    """All files and their witnesses are gone, perhaps under a frozen host, and a peer starts.

    If the newcomer is faster than all that restore their files, it founds a second cluster.
    """
    victim = _one(run, chance, host=True)
    if victim is not None and chance.random() < 0.6:
        victim.freeze(chance.choice([0.3, 1.5, 3.0]))
    disk = run.world.disk
    for path in [*disk.files]:
        if path.startswith((f"{ROOT}/", f"{WITNESSES}/")):
            del disk.files[path]
    run.world.note("", "deletes everything")
    run.join()
    disk.changed()
    return True


def cut(run: Run, chance: random.Random) -> bool:
    """A connection breaks, although both sides live."""
    victim = _one(run, chance, host=False)
    if victim is None:
        return False
    socks = [sock for sock in victim.sockets if not sock.closed]
    if not socks:
        return False
    run.history.disturbed()
    for sock in socks:
        sock.outbound.ended = sock.inbound.ended = True
        sock.process.notify()
        sock.other.process.notify()
    return True


def interrupt_a_waiting_user(run: Run, chance: random.Random) -> bool:
    """Ctrl-C while a thread waits for its write, or after some lines of what it does for that."""
    victim = _one(run, chance, host=chance.choice([False, False, None]))
    if victim is None or not victim.started:
        return False
    if chance.random() < 0.3:
        run.write_and_wait(victim, -1, chance.random() * 0.002)
    else:
        run.write_and_wait(victim, chance.randrange(chance.choice([100, 400, 1600])), None)
    return True


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_host,
        kill_host_in_a_step,
        kill_anybody_in_a_step,
        kill_candidate,
        freeze,
        freeze_in_a_step,
        freeze_writer_and_kill_host,
        freeze_host_past_its_lease,
        freeze_candidate_past_its_lease,
        stop,
        stop_host_and_kill_successor,
        busy_host,
        busy_host_and_kill_successor,
        join,
        join_in_the_crash,
        set_clock,
        swizzle,
        slow_peer,
        fork,
        delete_files,
        cut,
        interrupt_a_waiting_user,
    )
}

RARE: dict[str, Fault] = {delete_files_in_the_crash.__name__: delete_files_in_the_crash}
"""Faults for a focus. No seed draws them, because one fault more shifts all that a seed draws."""

WIPE = delete_witnesses.__name__
"""The fault of a batch of its own (``--wipes``): little is promised after it."""

BUGGIFY_POINTS = (
    "a candidate is late",
    "a connection is refused",
    "a catch-up is a snapshot",
    "a link breaks",
    "a peer lags",
    "a read gives a piece",
    "a send takes one byte",
    "a source breaks off",
    "a watch event is lost",
    "pending writes are sent again",
    "pushes wait",
    "what the dead left stays",
)
"""What memsync (see `Platform.buggify`) and this platform do rarely, and may do at any time."""
