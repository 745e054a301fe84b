"""What must hold after each round. A checker is a pure function: a history in, faults out.

What may be lost (G3): an acknowledged write is in two processes, the host and the writer, or the
host and one peer. It may be lost when both are gone before a recovery has spread it. The writer
is one of the two that count: while it lives it brings its write back, also after it was frozen. So
a loss is excused only if the writer has gone, and another process was killed or frozen in the same
time between two calms; a write with ``w="majority"`` only if that befell more than half of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

from .history import NEVER, History, Write, Writer

Checker = Callable[[History], Iterator[str]]


def all_comes_to_pass(history: History) -> Iterator[str]:
    """After the faults everybody is level in time, and files that were deleted are there again."""
    yield from history.trouble


def nobody_fails(history: History) -> Iterator[str]:
    """G12, G15: a start succeeds; a write fails for a conflict or a stop, nothing else."""
    for writer in history.writers.values():
        if writer.failure:
            yield f"{writer.name} could not start: {writer.failure}"
        for text in writer.broken:
            yield f"{writer.name} is broken: {text}"
        for write in writer.with_outcome("not_applied", "unknown", "applied"):
            if not _may_fail(writer, write):
                yield f"write {write.number} of {writer.name} failed: {write.detail}"


def _may_fail(writer: Writer, write: Write) -> bool:
    if writer.was_stopped and write.outcome != "applied":
        return True
    if write.outcome == "not_applied":
        return write.kind == "contested" and _is_conflict(write)
    return write.kind == "majority"  # its members may be dead, or it may be lost with them


def _is_conflict(write: Write) -> bool:
    return write.detail.startswith("ConflictError")


def everybody_is_told(history: History) -> Iterator[str]:
    """Each write of a process that was not killed has an outcome."""
    for writer in history.writers.values():
        if writer.gone < NEVER and not writer.was_stopped:
            continue
        for write in writer.with_outcome(""):
            yield f"write {write.number} of {writer.name} has no outcome"


def no_acknowledged_write_is_lost(history: History) -> Iterator[str]:
    """G3."""
    for writer in history.writers.values():
        there = set(history.tags.get(writer.name, ()))
        lost = [each for each in writer.with_outcome("ok", "applied") if each.number not in there]
        conflicts = [e for e in writer.with_outcome("not_applied") if _is_conflict(e)]
        told = max(writer.rolled_back - len(conflicts), 0)  # of acknowledged ones taken back
        for write in lost:
            if write.kind == "contested" and told:
                told -= 1
            elif not _may_be_lost(history, writer, write):
                yield (
                    f"write {write.number} of {writer.name} ({write.kind}) is lost, "
                    f"acknowledged at {write.told:.3f}, gone at {writer.gone:.3f}"
                )


def _may_be_lost(history: History, writer: Writer, write: Write) -> bool:
    if writer.gone == NEVER:
        return False
    since = max((calm.end for calm in history.calms if calm.end <= write.told), default=0.0)
    later = [calm for calm in history.calms if calm.begin > write.told]
    if any(writer.name in calm.who and calm.end <= writer.gone for calm in later):
        return False
    until = min((calm.end for calm in later if calm.begin >= writer.gone), default=NEVER)
    others = {
        hurt.who
        for hurt in history.hurts
        if hurt.who != writer.name and hurt.begin <= until and hurt.end >= since
    }
    if write.kind == "majority" and write.outcome == "ok":
        return len(others) + 1 > history.fewest // 2
    return bool(others)


def no_write_is_there_twice(history: History) -> Iterator[str]:
    """G2."""
    for name, numbers in history.tags.items():
        for number, times in Counter(numbers).items():
            if times > 1:
                yield f"write {number} of {name} is there {times} times"


def refused_writes_are_absent(history: History) -> Iterator[str]:
    """G2."""
    for writer in history.writers.values():
        there = set(history.tags.get(writer.name, ()))
        for write in writer.with_outcome("not_applied"):
            if write.number in there:
                yield f"write {write.number} of {writer.name} was refused and is there"


def nothing_comes_from_nowhere(history: History) -> Iterator[str]:
    """Each tag is of a write that was begun."""
    for name, numbers in history.tags.items():
        begun = history.writers[name].writes.keys() if name in history.writers else set()
        for number in set(numbers) - begun:
            yield f"write {number} of {name} is there and was never begun"


def writes_of_a_writer_keep_their_order(history: History) -> Iterator[str]:
    """G2: the numbers of a peer are one order."""
    for name, numbers in history.tags.items():
        for before, after in pairwise(numbers):
            if after < before:
                yield f"write {after} of {name} comes after {before}"


def a_write_is_there_as_a_whole(history: History) -> Iterator[str]:
    """G5: each write has pushed its tag and moved the counter."""
    count, tags = history.document.get("count"), sum(map(len, history.tags.values()))
    if count != tags:
        yield f"the counter says {count}, and there are {tags} tags"


def replicas_are_equal(history: History) -> Iterator[str]:
    """G1: down to the order of the fields."""
    if not history.replicas:
        yield "nobody is left to look at"
        return
    (first, expected), *rest = history.replicas.items()
    for name, text in rest:
        if text != expected:
            yield f"the replicas of {first} and {name} differ"


def there_is_one_host(history: History) -> Iterator[str]:
    """G6."""
    if len(history.hosts) != 1:
        yield f"there are {len(history.hosts)} hosts: {history.hosts}"


def nothing_is_left(history: History) -> Iterator[str]:
    """G12: no process, socket or file that nobody needs."""
    yield from history.leftovers


CHECKERS: tuple[Checker, ...] = (
    all_comes_to_pass,
    nobody_fails,
    everybody_is_told,
    no_acknowledged_write_is_lost,
    no_write_is_there_twice,
    refused_writes_are_absent,
    nothing_comes_from_nowhere,
    writes_of_a_writer_keep_their_order,
    a_write_is_there_as_a_whole,
    replicas_are_equal,
    there_is_one_host,
    nothing_is_left,
)


MOST = 5  # faults that one checker tells of


def violations(history: History) -> list[str]:
    """What is wrong with a round; of one that broke off before the object was looked at, why."""
    broke_off = history.trouble and not history.document
    checkers = (all_comes_to_pass, nobody_fails) if broke_off else CHECKERS
    found = []
    for checker in checkers:
        texts = [f"{checker.__name__}: {text}" for text in checker(history)]
        found += texts[:MOST]
        if len(texts) > MOST:
            found.append(f"{checker.__name__}: and {len(texts) - MOST} more")
    return found
