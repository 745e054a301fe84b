"""What must be true of every history. A checker is a pure function that yields the violations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from memsync.errors import MemErrors

from .events_checker import (
    an_event_and_its_patch_are_one_entry,
    emitted_events_are_there_once,
    events_come_once_and_in_order_or_are_counted,
    everybody_sees_who_is_present,
    may_be_lost,
)
from .faults import BUGGIFY_POINTS, FAULTS
from .history import Decided, History, Observation, Opening, Watched
from .locks_checker import a_fenced_place_has_one_holder_after_the_other, nobody_keeps_a_lock
from .workload import KINDS

LONGEST_FAIL_OVER = 3.0  # seconds

Checker = Callable[[History], Iterator[str]]


def all_become_quiet(history: History) -> Iterator[str]:
    """After the faults every peer has a role, nothing is pending, and all are at one version."""
    yield from history.unsettled
    if not history.finals:
        yield "no peer is up"


def nobody_fails(history: History) -> Iterator[str]:
    """G12, G13: a newcomer may be refused for a reason; a peer that is up stays up."""
    reasons = {"HostUnresponsiveError"}
    if history.writer_limit is not None:
        reasons.add("MaxWritersError")
    for who, was_up, kind, text in history.failures:
        if was_up or kind not in reasons:
            yield f"{who} has failed: {text}"
    for line in history.logged:  # an interrupted thread tears a copy, and nothing else does
        if "this copy is torn" in line and not line.endswith("an earlier change failed"):
            yield line


ALARMS = ("broke the protocol", "is given up", "could not be handled")


def nobody_breaks_the_protocol(history: History) -> Iterator[str]:
    """No peer sends what another one rejects."""
    for line in history.logged:
        if any(alarm in line for alarm in ALARMS):
            yield line


def replicas_are_equal(history: History) -> Iterator[str]:
    """G1: equal to the last byte, order of fields and system part included; live is confirmed."""
    for final in history.finals[1:]:
        if final.state != history.finals[0].state:
            yield f"{final.who} and {history.finals[0].who} differ"
    for final in history.finals:
        if not final.live_is_confirmed:
            yield f"{final.who} shows something else than its confirmed state"


def everybody_applies_the_same(history: History) -> Iterator[str]:
    """G1: an entry is the same wherever it is applied, and comes once and in order."""
    known: dict[tuple[str, int, int], tuple[str, int]] = {}
    last: dict[tuple[str, str], tuple[int, int]] = {}
    for who, cluster_id, epoch, version, digest in history.applied:
        first, expected = known.setdefault((cluster_id, epoch, version), (who, digest))
        if digest != expected:
            yield f"entry ({epoch}, {version}) is one thing at {first}, another at {who}"
        if (epoch, version) <= last.get((who, cluster_id), (0, 0)):
            yield f"{who} announces ({epoch}, {version}) after {last[who, cluster_id]}"
        last[who, cluster_id] = epoch, version


def _object(history: History) -> dict[str, Any] | None:
    return history.finals[0].document if history.finals else None


def _tags(history: History) -> dict[str, list[str]]:
    found: dict[str, list[str]] = (_object(history) or {}).get("log", {})
    return found


def no_acknowledged_write_is_lost(history: History) -> Iterator[str]:
    """G3. A recovery may lose a write that no participant of it held."""
    if not history.finals:
        return
    tags = _tags(history)
    for write in history.writes:
        if write.outcome not in ("ok", "applied") or not write.is_tagged:
            continue
        if write.tag in tags.get(write.who, ()):
            continue
        if may_be_lost(history, write):
            continue
        yield f"write {write.tag} of {write.who}, acknowledged as {write.version}"


def nobody_bootstraps_beside_a_cluster(history: History) -> Iterator[str]:
    """G12: as long as one peer lives that has a copy, no other cluster begins."""
    for opening in history.openings:
        if opening.beside:
            yield f"{opening.who} opens {opening.cluster_id} beside {sorted(opening.beside)}"


def the_cluster_founded_first_wins(history: History) -> Iterator[str]:
    """Of those of which a peer that stays has a copy when the faults are over."""
    for final in history.finals:
        if history.survivors and final.cluster_id > min(history.survivors):
            yield f"{final.who} has {final.cluster_id}, of {sorted(history.survivors)}"


def an_acknowledged_write_is_in_two_processes(history: History) -> Iterator[str]:
    """G3: in the host and the writer, or in the host and one peer, if there is one."""
    watched: dict[tuple[str, str, int], list[Watched]] = {}
    for each in history.watched:
        watched.setdefault((each.cluster_id, each.peer, each.number), []).append(each)
    for write in history.writes:
        if write.outcome != "ok" or not write.is_tagged:
            continue
        wanted = 2 if write.others else 1
        if write.w == "majority":
            # A later host tracks it again when members have died or it had to order it again; the
            # same host does when its first answer may have been lost.
            begun = watched.get((write.cluster_id, write.peer, write.number), [])
            known = [w for w in begun if w.epoch <= write.epoch and w.at <= write.at]
            wanted = min((w.wanted for w in known if w.epoch == known[-1].epoch), default=1)
        if write.copies < wanted:
            yield f"write {write.tag} of {write.who} is in {write.copies} instead of {wanted}"


def no_write_is_applied_twice(history: History) -> Iterator[str]:
    """G2."""
    for who, tags in _tags(history).items():
        for tag, times in Counter(tags).items():
            if times > 1:
                yield f"write {tag} of {who} is there {times} times"
    for look in history.observations:
        if look.doubled:
            yield f"{look.who} shows a write twice at {look.pair}"


def writes_of_a_peer_keep_their_order(history: History) -> Iterator[str]:
    """G2: the numbers of a peer are one order."""
    position = {write.tag: index for index, write in enumerate(history.writes)}
    for who, tags in _tags(history).items():
        if tags != sorted(tags, key=lambda tag: position.get(tag, -1)):
            yield f"the writes of {who} are out of order: {tags}"


def refused_writes_are_invisible(history: History) -> Iterator[str]:
    """G2: unless no participant of a later recovery knew of the refusal."""
    tags = _tags(history)
    for write in history.writes:
        is_there = write.tag in tags.get(write.who, ())
        if write.outcome == "not_applied" and is_there and not may_be_lost(history, write):
            yield f"write {write.tag} of {write.who} was refused ({write.error}) and is there"


def invariants_hold(history: History) -> Iterator[str]:
    """G4: the view is the confirmed document with the pending writes on top; and others."""
    yield from history.broken


def a_pair_never_goes_back(history: History) -> Iterator[str]:
    """G4."""
    last: dict[str, tuple[int, int]] = {}
    for look in history.observations:
        before = last.get(look.who, (0, 0))
        if look.pair < before:
            yield f"{look.who} goes from {before} to {look.pair}"
        last[look.who] = look.pair


def a_counter_never_goes_back(history: History) -> Iterator[str]:
    """G4: unless an own write of the peer is rolled back."""
    last: dict[str, tuple[int, int, int]] = {}
    for look in history.observations:
        n, rollbacks, epoch = last.get(look.who, (0, 0, 0))
        if look.n < n and look.rolled_back == rollbacks and not _was_absent(history, look, epoch):
            yield f"{look.who} reads n = {look.n} after {n}, and nothing was rolled back"
        last[look.who] = (look.n, look.rolled_back, look.pair[0])


def _was_absent(history: History, look: Observation, before: int) -> bool:
    """Whether a later epoch began without a process, so that writes it had may be lost."""
    return any(
        before < opening.epoch <= look.pair[0] and look.who not in opening.took_part
        for opening in history.openings
    )


def a_fail_over_is_quick(history: History) -> Iterator[str]:
    """At most `LONGEST_FAIL_OVER`, unless somebody or some link is stopped, or a link is cut.

    Nor does it hold while a dead member is known whose peer file was deleted.
    """
    for each in history.undisturbed_fail_overs():
        if each.ended_at - each.at > LONGEST_FAIL_OVER:
            hosted = each.hosted_at - each.at if each.hosted_at else float("nan")
            yield (
                f"the fail-over at {each.at - 1000:.6f} took {each.ended_at - each.at:.3f} s, "
                f"{hosted:.3f} s of them until a peer hosted"
            )


def a_writer_reads_its_own_write(history: History) -> Iterator[str]:
    """G4."""
    for write in history.writes:
        if not write.reads_itself:
            yield f"{write.who} does not read its acknowledged write {write.tag}"


def one_host_for_each_epoch(history: History) -> Iterator[str]:
    """G6."""
    hosts: dict[tuple[str, int], Opening] = {}
    for opening in history.openings:
        key = opening.cluster_id, opening.epoch
        first = hosts.setdefault(key, opening)
        if first.who != opening.who:
            yield f"epoch {opening.epoch} has {first.who} and {opening.who}"


def max_writers_is_kept(history: History) -> Iterator[str]:
    """G8."""
    limit = history.writer_limit
    if limit is None:
        return
    if history.most_writers > limit:
        yield f"{history.most_writers} writers are up, {limit} are allowed"
    for look in history.observations:
        if look.writers > limit:
            yield f"{look.who} knows of {look.writers} writers at {look.pair}, {limit} are allowed"


def what_never_happened(counts: Counter[str]) -> list[str]:
    """The kinds of writes that never succeeded in a batch, and the events that never occurred."""
    wanted = [f"{kind}: ok" for kind in KINDS if kind != "lock"]
    wanted += ["a lock is lost", "a lock is released", "a request for a lock is given up"]
    wanted += ["with a lock: LockLostError"]
    wanted += [*FAULTS, *(f"buggify: {point}" for point in BUGGIFY_POINTS)]
    wanted += [
        "becomes host",
        "events are missed",
        "stands by",
        "becomes client",
        "host ends: deposed",
        "client ends: the host hangs",
    ]
    wanted += [
        "client ends: the host hands over",
        "client ends: the other side closed the connection",
    ]
    wanted += [
        "a fail-over is measured",
        "a fence waits for a reader",
        "a reader is interrupted",
        "a thread is preempted",
        "a wait on the link ends with its answer",
        "a waiting user holds the reader role",
        "an interrupt",
    ]
    return [what for what in wanted if not counts[what]]


# -- conflicts -------------------------------------------------------------------------------------

COMMUTING = {"$set", "$unset", "$inc", "$max", "$addToSet", "$push"}


class Named(NamedTuple):
    """A path that an update names, and how it is written."""

    path: tuple[str, ...]
    kind: str
    value: Any


def _named(update: dict[str, Any]) -> Iterator[Named]:
    for operator, fields in update.items():
        for path, value in fields.items():
            is_plain = not (isinstance(value, dict) and "$slice" in value)
            kind = operator if operator in COMMUTING and is_plain else f"{operator} alone"
            yield Named(tuple(path.split(".")), kind, value)


def _meet(one: Named, other: Named) -> bool:
    length = min(len(one.path), len(other.path))
    return one.path[:length] == other.path[:length]


def _commute(one: Named, other: Named) -> bool:
    if one.kind != other.kind or one.kind not in COMMUTING:
        return False
    if one.kind == "$unset":
        return True
    if one.path != other.path:
        return False
    return one.kind != "$set" or one.value == other.value


def _epoch_at(epochs: tuple[tuple[int, int], ...], version: int) -> int:
    return max((epoch for epoch, first in epochs if first <= version), default=0)


def conflicts_are_decided_as_the_rule_says(history: History) -> Iterator[str]:
    """G7: against every entry of the host's history that the writer had not seen."""
    openings = {(opening.cluster_id, opening.epoch): opening for opening in history.openings}
    entries = {
        (each.cluster_id, each.epoch, each.version + 1): each
        for each in history.decided
        if each.outcome == "entry"
    }
    for each in history.decided:
        if each.proposal.kind != "patch" or each.proposal.where is not None:
            continue
        if isinstance(each.proposal.body, list):
            continue  # lists write where no other update does
        opening = openings.get((each.cluster_id, each.epoch))
        if opening is None:
            continue
        expected = not history.is_last and _is_refused(history.is_strict, opening, entries, each)
        conflict = each.outcome == MemErrors.ERR_CONFLICT
        if expected != conflict:
            said = "refused" if conflict else "let through"
            yield (
                f"{each.proposal.body} of {each.peer}, made on ({each.proposal.epoch}, "
                f"{each.proposal.version}), was {said} at ({each.epoch}, {each.version})"
            )


def _is_refused(
    is_strict: bool,
    opening: Opening,
    entries: dict[tuple[str, int, int], Decided],
    asked: Decided,
) -> bool:
    base = asked.proposal.version
    for epoch, first in opening.epochs:
        if epoch > asked.proposal.epoch:
            base = min(base, first - 1)
            break
    mine = list(_named(asked.proposal.body))
    for version in range(base + 1, asked.version + 1):
        epoch_then = _epoch_at(opening.epochs, version)
        entry = entries.get((opening.cluster_id, epoch_then, version))
        if entry is None or entry.peer == asked.peer or isinstance(entry.proposal.body, list):
            continue
        if not is_strict and entry.proposal.timestamp <= asked.proposal.timestamp:
            continue
        for theirs in _named(entry.proposal.body):
            if any(_meet(own, theirs) and not _commute(own, theirs) for own in mine):
                return True
    return False


def everybody_knows_the_methods(history: History) -> Iterator[str]:
    """A member has the methods that it stated last, and everybody sees them."""
    for final in history.finals:
        if final.methods != history.finals[0].methods:
            yield f"{final.who} and {history.finals[0].who} see other methods"
        own = [w for w in history.writes if w.kind == "method" and w.peer == final.peer]
        known = [
            w
            for w in own
            if "record" in w.update and w.outcome == "ok" and w.cluster_id == final.cluster_id
        ]
        shown = final.methods.get(final.peer)
        if shown is None:
            yield f"{final.who} is not in the directory"
        elif known and not may_be_lost(history, known[-1]):
            least = [*known[-1].update["record"]["methods"]]
            if not shown or int(shown[0][2:]) < int(least[0][2:]):
                yield f"{final.who} has stated {least} and shows {shown}"


CHECKERS: tuple[Checker, ...] = (
    all_become_quiet,
    nobody_fails,
    nobody_breaks_the_protocol,
    replicas_are_equal,
    everybody_applies_the_same,
    no_acknowledged_write_is_lost,
    nobody_bootstraps_beside_a_cluster,
    the_cluster_founded_first_wins,
    an_acknowledged_write_is_in_two_processes,
    no_write_is_applied_twice,
    writes_of_a_peer_keep_their_order,
    refused_writes_are_invisible,
    invariants_hold,
    a_pair_never_goes_back,
    a_counter_never_goes_back,
    a_writer_reads_its_own_write,
    a_fail_over_is_quick,
    one_host_for_each_epoch,
    max_writers_is_kept,
    conflicts_are_decided_as_the_rule_says,
    events_come_once_and_in_order_or_are_counted,
    emitted_events_are_there_once,
    an_event_and_its_patch_are_one_entry,
    everybody_sees_who_is_present,
    everybody_knows_the_methods,
    a_fenced_place_has_one_holder_after_the_other,
    nobody_keeps_a_lock,
)

CHECKERS_AFTER_A_WIPE: tuple[Checker, ...] = (
    all_become_quiet,
    nobody_fails,
    replicas_are_equal,
    the_cluster_founded_first_wins,
)
"""What is still promised once locks and witnesses were deleted under a living group."""
