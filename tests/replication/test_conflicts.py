"""The conflict index: it decides as somebody would who remembers every entry (DESIGN 5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain, cycle
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from memsync.document import PathWrite, apply_update, compile_update, refine_write_set, write_set
from memsync.errors import MemSyncError, ProtocolError
from memsync.replication import conflicts
from memsync.replication.conflicts import ConflictIndex
from memsync.replication.marks import MAX_MARKS

PEERS = ["A", "B", "C"]
MANY = 1000


def there(pointer: str) -> bool:
    """All array elements exist."""
    return True


def missing(pointer: str) -> bool:
    """No array element exists."""
    return False


def at(*names: str) -> list[PathWrite]:
    """Written paths, each as "pointer kind" or "pointer $set=value"."""
    found = []
    for name in names:
        pointer, _, kind = name.partition(" ")
        kind, _, value = kind.partition("=")
        found.append(PathWrite(pointer, kind, value.encode() if kind.startswith("$set") else None))
    return found


class Asked(NamedTuple):
    """A question to the index."""

    base: int
    timestamp: int
    peer: str
    names: list[PathWrite]
    strict: bool = False

    def of(self, index: ConflictIndex | Model, exists: Callable[[str], bool] = there) -> Any:
        base, timestamp, peer, names, strict = self
        return index.find(base, timestamp, peer, names, strict=strict, exists=exists)


class Model:
    """Remembers every entry of the paths it has, and says the rule in the plainest way."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.paths: dict[str, list[tuple[int, int, str, PathWrite]]] = {}
        self.floors: dict[str, tuple[int, int]] = {}

    def note(self, version: int, timestamp: int, peer: str, names: list[PathWrite]) -> None:
        for name in names:
            entries = self.paths.pop(name.pointer, [])
            self.paths[name.pointer] = [*entries, (version, timestamp, peer, name)]
            if len(self.paths) > self.limit:
                dropped = self.paths.pop(next(iter(self.paths)))
                for version_, time, _, known in dropped:
                    kind = plain(known.kind)
                    floor = self.floors.get(kind, (-1, -1))
                    self.floors[kind] = max(floor[0], version_), max(floor[1], time)

    def find(
        self,
        base: int,
        timestamp: int,
        peer: str,
        names: list[PathWrite],
        *,
        strict: bool,
        exists: Callable[[str], bool],
    ) -> str | None:
        for name in names:
            for kind, (version, time) in self.floors.items():
                anywhere = kind.startswith(("$inc", "$mul", "$bit", "$unset"))
                commuting = kind == plain(name.kind) and anywhere
                if base < version and (strict or timestamp < time) and not commuting:
                    return name.pointer
        for name in names:
            for version, time, author, known in chain(*self.paths.values()):
                if (
                    version > base
                    and author != peer
                    and (strict or time > timestamp)
                    and meets(known.pointer, name.pointer)
                    and not commutes(known, name, exists)
                ):
                    return name.pointer
        return None


def plain(kind: str) -> str:
    return kind.replace("[]", "").replace("+", "")


def within(inner: str, outer: str) -> bool:
    return inner != outer and inner.startswith(f"{outer}/")


def meets(left: str, right: str) -> bool:
    return left == right or within(left, right) or within(right, left)


def commutes(known: PathWrite, name: PathWrite, exists: Callable[[str], bool]) -> bool:
    """Whether a recorded write that meets a proposed one commutes with it."""
    if "other" in (known.kind, name.kind):
        return False
    same = known.pointer == name.pointer
    kinds = {plain(each.kind) for each in (known, name)}
    if len(kinds) == 1 and kinds != {"other"}:
        if kinds == {"$set"}:
            return same and known.tag == name.tag
        outer = min(known, name, key=lambda each: len(each.pointer))
        if same or kinds == {"$unset"} or outer.kind.endswith("[]"):
            return True
    for push, inner in ((known, name), (name, known)):
        if push.kind not in ("$push", "$push+"):
            continue
        if same and inner.kind.endswith("[]"):
            return True
        if within(inner.pointer, push.pointer) and not inner.kind.endswith("+"):
            token = inner.pointer[len(push.pointer) + 1 :].split("/")[0]
            if token.isdecimal() and (inner is known or exists(f"{push.pointer}/{token}")):
                return True
    return False


# What a proposal by B, made on the version before, of an older time, is told about A's write.
CONFLICTS = {
    "the same path": ("/a $inc", "/a $mul"),
    "a path that contains the other": ("/a/b/c $inc", "/a $unset"),
    "a path that lies within the other": ("/a $set=1", "/a/b/c $inc"),
    "the whole object contains all": ("/a/b $inc", " $set=1"),
    "all lies within the whole object": (" $set=1", "/a/b $inc"),
    "the whole object is the whole object": (" $set=1", " $set=2"),
    "an unset and a set below it": ("/a $unset", "/a/b $set=1"),
    "bit operations of two kinds": ("/a $bit and", "/a $bit or"),
    "sets of different values": ("/a $set=1", "/a $set=2"),
    "equal sets of different places": ("/a $set=1", "/a/b $set=1"),
    "a set and an unset": ("/a $set=1", "/a $unset"),
    "other with itself": ("/a other", "/a other"),
    "other inside elements with itself": ("/a other[]", "/a other[]"),
    "other with a push": ("/a other", "/a $push"),
    "a push with other": ("/a $push", "/a other"),
    "other below a push, as an insertion is": ("/a/0 other", "/a $push"),
    "a push above other": ("/a $push", "/a/0 other"),
    "a push and adding to a set": ("/a $push", "/a $addToSet"),
    "a push and what created an element": ("/a/0 $set+=1", "/a $push"),
    "a push and what created an element above": ("/a/0/n $inc+", "/a $push"),
    "a push and a key that is no element": ("/a/b $inc", "/a $push"),
    "a key that is no element and a push": ("/a $push", "/a/b $inc"),
    "a push above the pushed array's parent": ("/a $inc", "/a/0 $push"),
    "a push and the array above": ("/a/0 $push", "/a $set=1"),
    "a push inside elements and an element": ("/a $push[]", "/a/0 $set=1"),
    "extremes of an object and of its field": ("/a $min", "/a/b $min"),
    "extremes of a field and of its object": ("/a/b $max", "/a $max"),
    "sets of an array and of an element": ("/a/0 $addToSet", "/a $addToSet"),
    "elements within a field and the field": ("/a/b $inc[]", "/a $inc"),
    "a field and elements within it": ("/a $inc", "/a/b $inc[]"),
    "increments and products inside elements": ("/a $inc[]", "/a $mul[]"),
    "setting elements and elements' fields": ("/a other[]", "/a/0/n $inc"),
}

COMMUTE = {
    "another path": ("/a $inc", "/b $mul"),
    "a sibling": ("/a/b $set=1", "/a/c $set=2"),
    "a path that only begins alike": ("/ab $set=1", "/a $set=2"),
    "a path that only begins alike, longer": ("/a $set=1", "/ab/c $set=2"),
    "another element": ("/a/0 other", "/a/1 other"),
    "increments": ("/a $inc", "/a $inc"),
    "products": ("/a $mul", "/a $mul"),
    "minima": ("/a $min", "/a $min"),
    "maxima": ("/a $max", "/a $max"),
    "additions to a set": ("/a $addToSet", "/a $addToSet"),
    "removals": ("/a $unset", "/a $unset"),
    "a removal and one below it": ("/a $unset", "/a/b $unset"),
    "a removal and one above it": ("/a/b $unset", "/a $unset"),
    "and with and": ("/a $bit and", "/a $bit and"),
    "or with or": ("/a $bit or", "/a $bit or"),
    "xor with xor": ("/a $bit xor", "/a $bit xor"),
    "pushes": ("/a $push", "/a $push"),
    "equal sets": ("/a $set=1", "/a $set=1"),
    "equal sets of the whole object": (" $set=1", " $set=1"),
    "increments, one of which created an element": ("/a/0 $inc+", "/a/0 $inc"),
    "equal sets, one of which created an element": ("/a/0 $set+=1", "/a/0 $set=1"),
    "pushes, one of which created the array": ("/a/0 $push+", "/a/0 $push"),
    "increments inside elements": ("/a $inc[]", "/a $inc[]"),
    "increments inside elements and of the same path": ("/a $inc[]", "/a $inc"),
    "increments inside elements and of one element": ("/a $inc[]", "/a/0/n $inc"),
    "increments of one element and inside elements": ("/a/0/n $inc", "/a $inc[]"),
    "a push and a write inside an element": ("/a $push", "/a/0 $set=1"),
    "a write inside an element and a push": ("/a/0/n $inc", "/a $push"),
    "a push and a removal inside an element": ("/a $push", "/a/0/n $unset"),
    "a push and a push inside an element": ("/a/0 $push", "/a $push"),
    "a push and a write inside all elements": ("/a $push", "/a other[]"),
    "a write inside all elements and a push": ("/a other[]", "/a $push"),
    "a push and a write inside the elements of an element": ("/a $push", "/a/0/b other[]"),
    "a write inside the elements of an element and a push": ("/a/0/b other[]", "/a $push"),
    "a push inside elements and one at the array": ("/a $push[]", "/a $push"),
    "a push that created its array and an element's write": ("/a/0 $push+", "/a/0/1 $inc"),
    "a push to an array whose name needs escapes": ("/a~1b $push", "/a~1b/0 $inc"),
    "an other inside elements of the array of a push": ("/a $push", "/a other[]"),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_an_older_write_conflicts_with(case: str) -> None:
    recorded, proposed = CONFLICTS[case]
    for strict in (False, True):
        index = ConflictIndex(MANY)
        index.note(1, 20, "A", at(recorded))
        (name,) = at(proposed)
        assert Asked(0, 10, "B", [name], strict).of(index) == name.pointer


@pytest.mark.parametrize("case", COMMUTE)
def test_an_older_write_has_no_conflict_with(case: str) -> None:
    recorded, proposed = COMMUTE[case]
    for strict in (False, True):
        index = ConflictIndex(MANY)
        index.note(1, 20, "A", at(recorded))
        assert Asked(0, 10, "B", at(proposed), strict).of(index) is None


class TestWhoConflicts:
    """Which entries count at all: later than the base, of another peer, newer unless strict."""

    index = ConflictIndex(MANY)
    index.note(5, 20, "A", at("/a $set=1"))

    @pytest.mark.parametrize(
        ("asked", "lenient", "strict"),
        [
            (Asked(4, 19, "B", at("/a $unset")), "/a", "/a"),
            (Asked(4, 20, "B", at("/a $unset")), None, "/a"),  # the last writer wins
            (Asked(4, 21, "B", at("/a $unset")), None, "/a"),
            (Asked(5, 19, "B", at("/a $unset")), None, None),  # has seen it
            (Asked(4, 19, "A", at("/a $unset")), None, None),  # its own
            (Asked(4, 19, "B", []), None, None),  # writes nothing
        ],
    )
    def test_by_time_or_strictly(self, asked: Asked, lenient: Any, strict: Any) -> None:
        assert asked.of(self.index) == lenient
        assert asked._replace(strict=True).of(self.index) == strict

    def test_nothing_conflicts_with_an_empty_index(self) -> None:
        for strict in (False, True):
            assert Asked(0, 0, "B", at("/a other"), strict).of(ConflictIndex(MANY)) is None

    def test_the_first_of_the_proposals_paths_is_told(self) -> None:
        names = at("/b $inc", "/c $inc", "/a/x $inc", "/a/y $inc")
        assert Asked(0, 0, "B", names).of(self.index) == "/a/x"


def test_a_commuting_write_in_between_masks_nothing() -> None:
    index = ConflictIndex(MANY)
    index.note(1, 30, "A", at("/n $set=1"))
    index.note(2, 40, "A", at("/n $inc"))
    assert Asked(0, 20, "B", at("/n $inc")).of(index) == "/n"
    assert Asked(1, 20, "B", at("/n $inc")).of(index) is None


def test_an_older_timestamp_noted_later_does_not_lower_anything() -> None:
    index = ConflictIndex(MANY)
    index.note(1, 30, "A", at("/n $inc"))
    index.note(2, 10, "C", at("/n $inc"))
    assert Asked(0, 20, "B", at("/n $unset")).of(index) == "/n"
    assert Asked(1, 20, "B", at("/n $unset")).of(index) is None


def test_an_own_write_in_between_masks_nothing() -> None:
    index = ConflictIndex(MANY)
    index.note(1, 30, "A", at("/n $set=1"))
    index.note(2, 40, "B", at("/n $set=2"))
    assert Asked(0, 20, "B", at("/n $set=3")).of(index) == "/n"


def test_an_equal_set_in_between_masks_nothing() -> None:
    index = ConflictIndex(MANY)
    index.note(1, 30, "A", at("/n $set=1"))
    index.note(2, 40, "A", at("/n $set=2"))
    assert Asked(0, 20, "B", at("/n $set=2")).of(index) == "/n"


class TestAProposalBelowAPush:
    """Whether it lies inside an existing element is asked of the host's document."""

    index = ConflictIndex(MANY)
    index.note(1, 20, "A", at("/x/a $push"))

    @pytest.mark.parametrize("proposed", ["/x/a/3 $set=1", "/x/a/3/b/0 $inc", "/x/a/3/b other[]"])
    def test_the_element_is_asked_for(self, proposed: str) -> None:
        asked: list[str] = []

        def exists(pointer: str) -> bool:
            asked.append(pointer)
            return False

        question = Asked(0, 10, "B", at(proposed))
        assert question.of(self.index) is None
        assert question.of(self.index, exists) == at(proposed)[0].pointer
        assert asked == ["/x/a/3"]

    def test_nothing_is_asked_where_no_element_can_be(self) -> None:
        for proposed in ("/x/a/b $inc", "/x/a $inc", "/x/a/- $inc"):
            assert Asked(0, 10, "B", at(proposed)).of(self.index, pytest.fail) is not None
        for proposed in ("/x/a $push", "/x/a other[]", "/x/b $inc"):
            assert Asked(0, 10, "B", at(proposed)).of(self.index, pytest.fail) is None


class TestTheFloor:
    """What falls out is represented by the latest version and the greatest time of all of it."""

    def test_the_path_not_written_for_longest_falls_out(self) -> None:
        index = ConflictIndex(2)
        index.note(1, 10, "A", at("/a $inc"))
        index.note(2, 20, "A", at("/b $inc"))
        index.note(3, 30, "A", at("/a $inc"))
        assert index.floors == {}
        index.note(4, 40, "A", at("/c $inc"))
        assert index.floors == {"$inc": (2, 20)}
        assert [path[0] for path in index.encode()[2]] == ["/a", "/c"]

    def test_an_older_write_that_may_have_met_it_is_refused(self) -> None:
        index = ConflictIndex(1)
        index.note(1, 20, "A", at("/a $inc"))
        index.note(2, 10, "A", at("/b $inc"))
        names = at("/x/y $unset", "/z $unset")
        assert index.floors == {"$inc": (1, 20)}
        assert Asked(0, 19, "B", names).of(index) == "/x/y"
        assert Asked(0, 20, "B", names).of(index) is None
        assert Asked(1, 19, "B", names).of(index) is None
        assert Asked(0, 99, "B", names, strict=True).of(index) == "/x/y"
        assert Asked(1, 19, "B", names, strict=True).of(index) is None
        assert Asked(0, 19, "A", names).of(index) == "/x/y", "whose it was is forgotten"

    def test_what_commutes_with_all_that_fell_out_is_not_refused(self) -> None:
        index = ConflictIndex(1)
        index.note(1, 20, "A", at("/a $inc"))
        index.note(2, 30, "A", at("/b $inc"))
        for strict in (False, True):
            assert Asked(0, 5, "B", at("/c $inc"), strict).of(index) is None
            assert Asked(0, 5, "B", at("/c $mul"), strict).of(index) == "/c"
        index.note(3, 40, "A", at("/d $set=1"))
        index.note(4, 50, "A", at("/e $inc"))
        assert Asked(0, 5, "B", at("/f $inc")).of(index) == "/f"
        assert Asked(0, 5, "B", at("/f $set=1")).of(index) == "/f", "of another path, perhaps"

    def test_version_and_time_of_the_floor_may_come_from_two_writes(self) -> None:
        index = ConflictIndex(1)
        index.note(1, 50, "A", at("/a $inc"))
        index.note(2, 40, "B", at("/a $inc"))
        index.note(3, 10, "A", at("/b $inc"))
        assert index.floors == {"$inc": (2, 50)}

    def test_a_path_below_another_that_falls_out_stays(self) -> None:
        index = ConflictIndex(2)
        index.note(1, 10, "A", at("/a $inc"))
        index.note(2, 20, "A", at("/a/b/c $inc"))
        index.note(3, 30, "A", at("/d $inc"))
        assert Asked(1, 15, "B", at("/a/b $inc")).of(index) == "/a/b"
        index.note(4, 40, "A", at("/e $inc"))
        assert Asked(2, 15, "B", at("/a/b $inc")).of(index) is None
        assert list(index._root.children) == ["d", "e"], "what holds nothing is gone"

    def test_one_entry_may_have_more_paths_than_the_index(self) -> None:
        index = ConflictIndex(2)
        index.note(1, 10, "A", at("/a $inc", "/b $inc", "/c $inc"))
        assert index.floors == {"$inc": (1, 10)}
        assert [path[0] for path in index.encode()[2]] == ["/b", "/c"]


_pointers = ["", "/a", "/a/b", "/a/b/c", "/a/0", "/a/0/x", "/a/0/x/1", "/a/-", "/ab", "/b", "/b/1"]
_kinds = ["$inc", "$inc+", "$inc[]", "$min", "$unset", "$bit or", "$push", "$push+", "$push[]"]
_kinds += ["$addToSet", "other", "other[]"]
_tags = st.sampled_from([b"1", b"2", b"3"])
_sets = st.builds(PathWrite, st.sampled_from(_pointers), st.sampled_from(["$set", "$set+"]), _tags)
_others = st.builds(PathWrite, st.sampled_from(_pointers), st.sampled_from(_kinds), st.none())
_names = st.lists(st.one_of(_sets, _others), min_size=1, max_size=3)
# Many entries of one path, which is where marks are pruned.
_crowded = st.builds(PathWrite, st.sampled_from(["/a", "/a/0"]), st.just("$set"), _tags).map(
    lambda name: [name]
)
# Entries that write several places, as wide updates do.
_several = st.lists(
    st.builds(PathWrite, st.sampled_from(_pointers), st.just("$set"), _tags),
    min_size=2,
    max_size=4,
    unique_by=lambda name: name.pointer,
)
_times = st.integers(0, 9)
_entries = st.lists(
    st.tuples(
        st.integers(1, 2), _times, st.sampled_from(PEERS), st.one_of(_names, _crowded, _several)
    ),
    max_size=14,
)
_questions = st.lists(
    st.builds(
        Asked,
        st.integers(0, 28),
        _times,
        st.sampled_from([*PEERS, "D"]),
        _names,
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def only_zero(pointer: str) -> bool:
    """Arrays have one element."""
    return pointer.endswith("/0")


def fill(index: ConflictIndex | Model, entries: Any, version: int = 0) -> int:
    """Note the entries; the version of the last one."""
    for step, timestamp, peer, names in entries:
        version += step
        index.note(version, timestamp, peer, names)
    return version


@pytest.fixture(params=["narrow", "wide"])
def road(request: pytest.FixtureRequest) -> Iterator[None]:
    """Entries of few paths are noted one by one, or as those of many paths."""
    with mock.patch.object(conflicts, "WIDE", 0 if request.param == "wide" else conflicts.WIDE):
        yield


@pytest.mark.usefixtures("road")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_entries, _questions)
def test_it_answers_as_who_remembers_everything(entries: Any, questions: list[Asked]) -> None:
    compare(ConflictIndex(MANY), Model(MANY), entries, questions)


def compare(index: ConflictIndex, model: Model, entries: Any, questions: list[Asked]) -> None:
    """Ask a question after each entry, and all of them at the end."""
    version = 0
    for entry, asked in zip(entries, cycle(questions), strict=False):
        fill(model, [entry], version)
        version = fill(index, [entry], version)
        assert asked.of(index, only_zero) == asked.of(model, only_zero)
    for asked in questions:
        assert asked.of(index, only_zero) == asked.of(model, only_zero)


@pytest.mark.usefixtures("road")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 4), _entries, _questions)
def test_with_few_paths_what_fell_out_is_answered_for_by_the_floor(
    limit: int, entries: Any, questions: list[Asked]
) -> None:
    index, model = ConflictIndex(limit), Model(limit)
    compare(index, model, entries, questions)
    assert index.floors == model.floors
    assert [path[0] for path in index.encode()[2]] == list(model.paths)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(_times, st.sampled_from(PEERS), st.sampled_from("1123")), max_size=12),
    st.booleans(),
)
def test_pruning_loses_nothing_and_keeps_nothing_in_vain(writes: Any, tagged: bool) -> None:
    """Every question about one path and kind is asked, and every mark left is the only answer."""
    index = ConflictIndex(MANY)
    everything = []
    for version, (time, peer, value) in enumerate(writes, 1):
        tag = value.encode() if tagged else None
        everything.append((version, time, peer, tag))
        index.note(version, time, peer, [PathWrite("/a", "$set" if tagged else "$inc", tag)])
    kept = [tuple(m) for _, kinds in index.encode()[2] for _, marks in kinds for m in marks]

    def answers(marks: Any) -> list[bool]:
        return [
            any(
                v > base and t > time and p != peer and not (tagged and x == tag)
                for v, t, p, x in marks
            )
            for base in range(len(writes) + 1)
            for time in range(-1, 10)
            for peer in [*PEERS, "D"]
            for tag in (b"1", b"2", b"3", b"4")
        ]

    complete = answers(everything)
    assert answers(kept) == complete
    for mark in kept:
        assert answers([other for other in kept if other != mark]) != complete


@pytest.mark.parametrize(
    ("peers", "kind", "most"),
    [("A", "$inc", 1), ("AB", "$inc", 2), ("ABC", "$inc", 2), ("A", "$set", 2), ("ABC", "$set", 3)],
)
def test_with_growing_times_few_marks_are_left(peers: str, kind: str, most: int) -> None:
    index = ConflictIndex(MANY)
    for n in range(1, 200):
        tag = str(n).encode() if kind == "$set" else None
        index.note(n, n, peers[n % len(peers)], [PathWrite("/a", kind, tag)])
        ((_, ((_, marks),)),) = index.encode()[2]
        assert len(marks) <= most


def test_operations_of_one_entry_at_one_path_are_all_remembered() -> None:
    index = ConflictIndex(MANY)
    index.note(1, 20, "A", at("/a $set=1", "/a $set=2", "/a $inc[]", "/a $inc[]"))
    assert Asked(0, 10, "B", at("/a $set=1")).of(index) == "/a"
    assert Asked(0, 10, "B", at("/a $set=2")).of(index) == "/a"
    ((_, kinds),) = index.encode()[2]
    assert [(kind, len(marks)) for kind, marks in kinds] == [("$set", 2), ("$inc[]", 1)]


@pytest.mark.usefixtures("road")
class TestSnapshots:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(1, 5), _entries, _entries, _questions)
    def test_a_decoded_index_goes_on_as_the_original(
        self, limit: int, before: Any, after: Any, questions: list[Asked]
    ) -> None:
        index = ConflictIndex(limit)
        version = fill(index, before)
        packed = msgspec.msgpack.encode(index.encode())
        copy = ConflictIndex.decode(limit, packed)
        assert copy.encode() == index.encode()
        for asked in questions:
            assert asked.of(copy, only_zero) == asked.of(index, only_zero)
        fill(index, after, version)
        fill(copy, after, version)
        assert copy.encode() == index.encode()
        for asked in questions:
            assert asked.of(copy, only_zero) == asked.of(index, only_zero)

    def test_it_is_plain_and_in_the_order_of_falling_out(self) -> None:
        index = ConflictIndex(2)
        index.note(1, 10, "A", at("/a $inc"))
        index.note(2, 20, "A", at("/b $set=1"))
        index.note(3, 30, "B", at("/a $unset"))
        index.note(4, 40, "B", at("/c $inc"))
        assert index.encode() == [
            4,
            {"$set": [2, 20]},
            [
                ["/a", [["$inc", [[1, 10, "A", None]]], ["$unset", [[3, 30, "B", None]]]]],
                ["/c", [["$inc", [[4, 40, "B", None]]]]],
            ],
        ]

    def test_an_empty_one_is_like_new(self) -> None:
        index = ConflictIndex.decode(3, msgspec.msgpack.encode(ConflictIndex(3).encode()))
        assert index.encode() == [-1, {}, []]
        assert index.limit == 3

    @pytest.mark.parametrize(
        "encoded",
        [
            None,
            [],
            [1, 2, 3],
            [1, {"$inc": 1}, []],
            [1, {"$inc": [1]}, []],
            [1, {}, [["/a"]]],
            [1, {}, [["/a", []]]],
            [1, {}, [["/a", [["$inc", []]]]]],
        ],
    )
    def test_what_is_none_is_refused(self, encoded: Any) -> None:
        with pytest.raises(ProtocolError):
            ConflictIndex.decode(3, msgspec.msgpack.encode(encoded))

    @pytest.mark.parametrize("damage", [b"", b"\xc1", b"\x93\x01\x80", b"\x91" * 5000])
    def test_bytes_that_are_no_message_are_refused(self, damage: bytes) -> None:
        with pytest.raises(ProtocolError):
            ConflictIndex.decode(3, damage)


# Which operators act on which documents, so that few updates fail.
_small = st.integers(0, 3)
_numbers = {
    **{name: _small for name in ("$inc", "$mul", "$min", "$max", "$set")},
    "$unset": st.just(""),
    "$bit": st.tuples(st.sampled_from(["and", "or", "xor"]), _small).map(lambda two: dict([two])),
}
_added = {name: st.sampled_from(["s", "t"]) for name in ("$push", "$addToSet")}
_shapes: list[tuple[Any, list[str], list[str]]] = [
    # a document, paths of numbers in it, paths of arrays in it
    ({"a": 2, "b": {"n": 3}}, ["a", "b.n", "b.m", "c.d", "c"], []),
    ({"a": [1, 2]}, ["a.0", "a.1", "a.3", "a.$[i]", "a"], ["a", "a.0"]),
    ({"a": [{"n": 1}, {}]}, ["a.0.n", "a.1.n", "a.2.n", "a.$[i].n", "a.1"], ["a", "a.1.t"]),
    ({"a": [[1], []]}, ["a.0.0", "a.1.0", "a.2"], ["a", "a.0", "a.1", "a.2", "a.$[i]", "b"]),
    ({}, ["a", "a.0", "a.n"], ["a", "a.0", "a.t"]),
]


@st.composite
def _pairs(draw: Any) -> tuple[Any, Any, Any]:
    """A document and two updates of one operator each, at places that are often near."""
    document, numbers, arrays = draw(st.sampled_from(_shapes))
    updates = []
    for _ in range(2):
        if arrays and draw(st.booleans()):
            name, path = draw(st.sampled_from(sorted(_added))), draw(st.sampled_from(arrays))
            updates.append({name: {path: draw(_added[name])}})
        else:
            name, path = draw(st.sampled_from(sorted(_numbers))), draw(st.sampled_from(numbers))
            updates.append({name: {path: draw(_numbers[name])}})
    return document, *updates


def filters(update: Any) -> list[Any] | None:
    """A filter for ``$[i]`` which what the updates push does not pass.

    Whether ``$[]`` reaches an element that is new meanwhile is up to the host's order.
    """
    (path,) = next(iter(update.values()))
    if "$[i]" not in path:
        return None
    return [{"i": {"$type": ["array", "number"] if path.endswith("]") else "object"}}]


def applied(document: Any, *updates: Any) -> Any:
    for update in updates:
        document = apply_update(document, update, array_filters=filters(update))
    return document


def unordered(value: Any) -> Any:
    """A value without the order of fields and elements."""
    if isinstance(value, dict):
        return {name: unordered(item) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return sorted((unordered(item) for item in value), key=json.dumps)
    return value


def element_exists(document: Any) -> Callable[[str], bool]:
    def exists(pointer: str) -> bool:
        value = document
        for token in pointer.split("/")[1:]:
            if isinstance(value, dict) and token in value:
                value = value[token]
            elif isinstance(value, list) and token.isdecimal() and int(token) < len(value):
                value = value[int(token)]
            else:
                return False
        return True

    return exists


def created(document: Any, update: Any) -> list[PathWrite]:
    """What an update writes that is accepted on the document; nothing where it changes nothing."""
    operations = compile_update(document, update, array_filters=filters(update))
    return refine_write_set(write_set(update), operations) if operations else []


@settings(max_examples=1000)
@given(_pairs())
def test_what_is_said_to_commute_does(pair: Any) -> None:
    """Two updates that meet without a conflict have one result, whichever comes first."""
    document, first, second = pair
    names = write_set(second)
    assume(any(meets(one.pointer, two.pointer) for one in write_set(first) for two in names))
    try:
        earlier, later = created(document, first), created(document, second)
        one_way, other_way = applied(document, first, second), applied(document, second, first)
    except MemSyncError:
        return  # one of them cannot be done at all, or not after the other
    assume(earlier)
    kinds = "".join(name.kind for name in [*earlier, *later, *names])
    assume(not ("[]" in kinds and "+" in kinds))  # as above: new elements and all elements
    index = ConflictIndex(MANY)
    index.note(1, 20, "A", earlier)
    if Asked(0, 10, "B", names, strict=True).of(index, element_exists(document)) is None:
        assert unordered(one_way) == unordered(other_way)


def test_falling_clocks_leave_a_bounded_number_of_marks() -> None:
    index = ConflictIndex(100)
    for version in range(1, MAX_MARKS + 11):
        index.note(version, 1000 - version, f"peer{version}", [PathWrite("/a", "other")])
    (_, ((_, marks),)) = index.encode()[2][0]
    assert len(marks) == MAX_MARKS
    assert index.floors == {"other": (10, 999)}
    for base, found in ((9, "/b"), (10, None)):
        other = [PathWrite("/b", "other")]
        assert index.find(base, 998, "x", other, strict=False, exists=lambda _: True) == found
