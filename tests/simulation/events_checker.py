"""G10, judged by a model: the events of the final history, and what each process announced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from .history import Heard, History, Opening, Write


class Events(NamedTuple):
    """The events of a cluster that are in its final history."""

    by_pair: dict[tuple[int, int], tuple[int, Any]]  # position from 1, and the event

    def up_to(self, pair: tuple[int, int]) -> int:
        """How many a peer at this pair has: entries of later epochs are not its own."""
        return sum(epoch <= pair[0] and version <= pair[1] for epoch, version in self.by_pair)


def may_be_lost(history: History, write: Write) -> bool:
    return any(
        not (opening.took_part | opening.passed_over) & write.holders
        for opening in history.openings
        if opening.at >= write.at
    )


def _events_of(history: History, cluster_id: str) -> Events:
    openings = [each for each in history.openings if each.cluster_id == cluster_id]
    last: Opening = max(openings, key=lambda opening: opening.epoch)
    ends = {}
    for (epoch, _), (_, end) in zip(last.epochs, last.epochs[1:], strict=False):
        ends[epoch] = end
    ends[last.epochs[-1][0]] = 1 << 60
    found = []
    for each in history.decided:
        is_entry = each.cluster_id == cluster_id and each.outcome in ("entry", "event")
        if not is_entry or each.proposal.event is None:
            continue
        version = each.version + 1
        if version < ends.get(each.epoch, 0):
            found.append((version, each.epoch, each.proposal.event))
    found.sort(key=lambda event: event[:2])
    by_pair = {(e, v): (n, event) for n, (v, e, event) in enumerate(found, 1)}
    return Events(by_pair)


def events_come_once_and_in_order_or_are_counted(history: History) -> Iterator[str]:
    """G10: between two events of the final history that a process gets, it missed what it says.

    Events that were lost with their host are passed over. An event and a patch come in the order of
    their entries, and in one entry the patch comes first.
    """
    events: dict[str, Events] = {}
    heard: dict[tuple[str, str], list[Heard]] = {}
    for item in history.heard:
        heard.setdefault((item.who, item.cluster_id), []).append(item)
    finals = {(final.who, final.cluster_id) for final in history.finals}
    for (who, cluster_id), items in heard.items():
        if not any(opening.cluster_id == cluster_id for opening in history.openings):
            continue
        if cluster_id not in events:
            events[cluster_id] = _events_of(history, cluster_id)
        is_final = (who, cluster_id) in finals
        yield from _misplaced(events[cluster_id], who, items, is_final=is_final)


def _misplaced(events: Events, who: str, items: list[Heard], *, is_final: bool) -> Iterator[str]:
    position: int | None = None
    last = ((0, 0), False)
    for item in items:
        if item.what == "joined":
            if position is None:
                position = events.up_to(item.pair)
            continue
        if item.what == "missed":
            position = None if position is None else position + item.fact
            continue
        place = item.pair, item.what == "event"
        if place <= last:
            yield f"{who} gets {item.what} {item.pair} after {last[0]}"
        last = place
        if item.what != "event" or item.pair not in events.by_pair:
            continue
        number, expected = events.by_pair[item.pair]
        if item.fact != expected:
            yield f"{who} gets {item.fact} at {item.pair} instead of {expected}"
        if position is not None and number != position + 1:
            yield f"{who} gets event {number} at {item.pair} after {position}"
        position = number
    if is_final and position is not None and position != len(events.by_pair):
        yield f"{who} knows of {position} events of {len(events.by_pair)}"


def _final_tags(history: History) -> Counter[str] | None:
    if not history.finals:
        return None
    cluster_id = history.finals[0].cluster_id
    if not any(opening.cluster_id == cluster_id for opening in history.openings):
        return None
    events = _events_of(history, cluster_id)
    return Counter(event[1][0] for _, event in events.by_pair.values())


def emitted_events_are_there_once(history: History) -> Iterator[str]:
    """G2 and G3 for events."""
    tags = _final_tags(history)
    if tags is None:
        return
    for tag, times in tags.items():
        if times > 1:
            yield f"event {tag} is there {times} times"
    for write in history.writes:
        if not write.emits or may_be_lost(history, write):
            continue
        if write.outcome in ("ok", "applied") and write.tag not in tags:
            yield f"event {write.tag} of {write.who}, acknowledged as {write.version}, is lost"
        if write.outcome == "not_applied" and write.tag in tags:
            yield f"event {write.tag} of {write.who} was refused ({write.error}) and is there"


def an_event_and_its_patch_are_one_entry(history: History) -> Iterator[str]:
    """G10: there is never the one without the other."""
    tags = _final_tags(history)
    if tags is None:
        return
    patches = history.finals[0].document.get("log", {})
    for write in history.writes:
        if not (write.emits and write.is_tagged):
            continue
        has_patch, has_event = write.tag in patches.get(write.who, ()), write.tag in tags
        if has_patch != has_event:
            there = "patch" if has_patch else "event"
            yield f"of write {write.tag} of {write.who} only the {there} is there"


def everybody_sees_who_is_present(history: History) -> Iterator[str]:
    """Each process has announced the fields that the members have, and a member its own last ones.

    The fields of a dead peer have vanished within a second, unless its file was deleted: without it
    the peer stays a member for some seconds.
    """
    for final in history.finals:
        shown = {p: f for p, f in history.present.get(final.who, {}).items() if f is not None}
        if final.who in history.connected and shown != final.present:  # others stand by
            yield f"{final.who} has announced {shown} of {final.present}"
        for peer in final.dead & final.present.keys():
            yield f"{final.who} shows {final.present[peer]} of {peer}, which is dead"
        own = [w for w in history.writes if w.kind == "presence" and w.peer == final.peer]
        known = [w.update["n"] for w in own if w.outcome == "ok" and not may_be_lost(history, w)]
        if known and final.present.get(final.peer, {}).get("n", 0) < known[-1]:
            yield f"{final.who} has stated {known[-1]} and shows {final.present.get(final.peer)}"
