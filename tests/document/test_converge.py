"""Converging: what comes out, what stays the same object, and what readers see meanwhile."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memsync.document import compile_patch, compile_update, make_live, replace_content, to_plain
from memsync.document.containers import ReadOnlyDict, ReadOnlyList
from memsync.document.live.array_alignment import NEW, Alignment, common_blocks
from memsync.document.live.atomic import append_fields, assign_slice
from memsync.document.live.converge import converge
from memsync.document.live.copy_on_write import CopyOnWrite
from memsync.errors import MemSyncError

from .document_strategies import documents, patches, text, updates, values
from .operation_helpers import add, remove, replace

slow = settings(deadline=None, suppress_health_check=list(HealthCheck))


def replayed(document: Any, operations: Any) -> Any:
    copy = CopyOnWrite(document)
    copy.replay(operations)
    return copy.root


def changed(document: Any, changes: Any) -> tuple[Any, list[Any]]:
    """What updates and patches make of a document, and their operations; refused ones left out."""
    copy, operations = CopyOnWrite(document), []
    for change in changes:
        try:
            if isinstance(change, list):
                compiled = compile_patch(copy.root, change)
            else:
                filters = [{"i": {"$gte": 1}}] if "$[i]" in text(change) else None
                compiled = compile_update(copy.root, change, array_filters=filters)
        except MemSyncError:
            continue
        copy.replay(compiled)
        operations += compiled
    return copy.root, operations


def containers(value: Any) -> Iterator[Any]:
    """All containers in a value, itself included."""
    if isinstance(value, dict | list):
        yield value
        native = dict.values(value) if isinstance(value, dict) else list.__iter__(value)
        for item in native:
            yield from containers(item)


def by_fields(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The containers that are reached through fields alone, by path."""
    found = {path: value}
    if isinstance(value, dict):
        for name, item in dict.items(value):
            if isinstance(item, dict | list):
                found.update(by_fields(item, (*path, name)))
    return found


class Guard:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc_info: Any) -> None:
        pass


def check(document: Any, before: Any, arrived: Any, after: Any) -> Any:
    """Converge, look at everything that must hold, and return the live object."""
    shown = replayed(document, before)
    target = replayed(replayed(document, arrived), after)
    given_text = text([document, before, arrived, after, target])
    guard = Guard()
    live = make_live(shown, guard)
    places = by_fields(live)
    converge(live, target, before, arrived, after)
    assert text(to_plain(live)) == text(target)
    for path, container in by_fields(live).items():
        old = places.get(path)
        assert type(old) is not type(container) or old is container
    found = list(containers(live))
    assert all(type(item) in (ReadOnlyDict, ReadOnlyList) for item in found)
    assert all(item._guard is guard for item in found)
    assert len({*map(id, found)}) == len(found)
    assert text([document, before, arrived, after, target]) == given_text
    return live


objects = st.dictionaries(st.sampled_from(["a", "b", "0", "1"]), values, max_size=4)
structured = st.fixed_dictionaries(
    {
        "a": st.lists(st.one_of(objects, st.lists(objects, max_size=3)), max_size=5),
        "b": st.one_of(objects, st.lists(values, max_size=6)),
    },
    optional={"c": objects, "0": values, "1": values},
)
# Fields that go and come again, alone or with what is around them.
_paths = st.sampled_from(["/a", "/b", "/c", "/0", "/b/a", "/b/0", "/a/0", "/a/1/a", "/a/0/0"])
again = st.one_of(
    st.builds(lambda path, value: [remove(path), add(path, value)], _paths, values),
    st.builds(lambda path, value: [add(path, value)], _paths, values),
    st.builds(lambda path: [remove(path)], _paths),
)
elements = st.one_of(
    st.builds(
        lambda path, each, place: {"$push": {path: {"$each": each, "$position": place}}},
        st.sampled_from(["a", "b", "a.0", "a.1", "b.a"]),
        st.lists(st.one_of(objects, values), max_size=3),
        st.integers(-3, 3),
    ),
    st.builds(
        lambda path, end: {"$pop": {path: end}},
        st.sampled_from(["a", "b", "a.0", "a.1", "b.a"]),
        st.sampled_from([1, -1]),
    ),
    st.builds(
        lambda path, value: {"$set": {path: value}},
        st.sampled_from(["a.0.a", "a.1.b", "a.2.a", "a.0.0", "b.0", "b.1.a", "c.a", "a.1"]),
        values,
    ),
)
changes = st.lists(st.one_of(elements, elements, updates, patches, again), max_size=5)


@slow
@given(st.one_of(structured, documents), changes, changes, changes)
@example({}, [[add("/a", {"b": 1})]], [[add("/a", {"b": 1})]], [[replace("/a/b", 2)]])
@example({"a": [1, 2]}, [[replace("", {})]], [{"$pop": {"a": 1}}], [])
def test_what_is_shown_becomes_what_is_true(
    document: Any, mine: Any, theirs: Any, later: Any
) -> None:
    _, before = changed(document, mine)
    middle, arrived = changed(document, theirs)
    _, after = changed(middle, later)
    check(document, before, arrived, after)


@slow
@given(st.one_of(structured, documents), changes, changes, st.integers(0, 5))
def test_changes_under_way_are_shown_on_top_of_what_has_arrived(
    document: Any, mine: Any, theirs: Any, own: int
) -> None:
    _, before = changed(document, mine)
    middle, arrived = changed(document, [*theirs, *mine[:own]])
    _, after = changed(middle, mine[own:])
    check(document, before, arrived, after)


@slow
@given(st.one_of(structured, documents), st.lists(changes, min_size=1, max_size=5))
def test_one_live_object_follows_round_after_round(document: Any, rounds: Any) -> None:
    live = make_live(document, None)
    before: list[Any] = []
    for mine in rounds:
        middle, arrived = changed(document, mine[1:])
        target, after = changed(middle, mine[:2])
        converge(live, target, before, arrived, after)
        assert text(to_plain(live)) == text(target)
        document, before = middle, after


_acts = st.lists(
    st.tuples(st.sampled_from(["insert", "remove", "change", "replace"]), st.integers(0, 9)),
    max_size=6,
)


def acted(count: int, acts: Any, numbers: Iterator[int]) -> list[Any]:
    """Operations on an array of `count` elements; what is put in has numbers of its own."""
    operations = []
    for kind, index in acts:
        if kind == "insert":
            index = min(index, count)
            operations.append(add(f"/a/{index}", {"id": next(numbers), "n": 0}))
            count += 1
        elif index < count:
            if kind == "remove":
                operations.append(remove(f"/a/{index}"))
                count -= 1
            elif kind == "change":
                operations.append(replace(f"/a/{index}/n", next(numbers)))
            else:
                operations.append(replace(f"/a/{index}", {"id": next(numbers), "n": 0}))
    return operations


@slow
@given(st.integers(0, 7), _acts, _acts, _acts)
def test_elements_that_only_move_keep_their_live_objects(
    count: int, mine: Any, theirs: Any, later: Any
) -> None:
    document = {"a": [{"id": index, "n": 0} for index in range(count)]}
    numbers = iter(range(100, 1000))
    before = acted(count, mine, numbers)
    arrived = acted(count, theirs, numbers)
    middle = replayed(document, arrived)
    after = acted(len(middle["a"]), later, numbers)
    target = replayed(middle, after)
    live = make_live(replayed(document, before), None)
    array = live["a"]
    old = {item["id"]: item for item in list.__iter__(array) if item["id"] < 100}
    converge(live, target, before, arrived, after)
    assert text(to_plain(live)) == text(target)
    assert live["a"] is array
    for item in list.__iter__(array):
        assert item["id"] not in old or old[item["id"]] is item


class TestOrder:
    """Keys end up in the order of the target, with as few of them moved as possible."""

    def test_a_key_that_was_appended_first_moves_behind_one_that_came_before_it(self) -> None:
        live = check({"x": 0}, [add("/m", 1)], [add("/t", 2)], [add("/m", 1)])
        assert list(live) == ["x", "t", "m"]

    def test_keys_that_are_appended_in_the_same_order_stay(self) -> None:
        live = check({}, [add("/m", {}), add("/n", 1)], [add("/m", {})], [add("/n", 2)])
        assert list(live) == ["m", "n"]

    def test_a_removed_key_comes_back_in_the_middle(self) -> None:
        live = check({"a": 1, "b": {}, "c": {}}, [remove("/b")], [replace("/a", 2)], [])
        assert list(live) == ["a", "b", "c"]

    def test_a_key_that_went_and_came_again_returns_to_its_place(self) -> None:
        live = check({"a": {}, "b": {}}, [remove("/a"), add("/a", {"n": 1})], [], [])
        assert list(live) == ["a", "b"]

    def test_a_key_in_the_middle_goes_to_the_end(self) -> None:
        live = check({"a": {}, "b": {}}, [], [remove("/a"), add("/a", {"n": 1})], [])
        assert list(live) == ["b", "a"]

    def test_a_key_that_came_and_went_leaves_nothing(self) -> None:
        live = check({"a": 1}, [add("/b", 1), remove("/b")], [], [add("/b", 1), remove("/b")])
        assert list(live) == ["a"]

    def test_an_addition_over_a_key_that_is_there_keeps_its_place(self) -> None:
        live = check({"a": 1, "b": 2}, [add("/a", 5)], [add("/a", 6)], [])
        assert list(live) == ["a", "b"]


class TestValues:
    """Types make a difference, and so does what was written as a whole."""

    @pytest.mark.parametrize("old", [1, 1.0, True, None, 0.0, -0.0, "", [], {}], ids=repr)
    @pytest.mark.parametrize("new", [1, 1.0, True, None, 0.0, -0.0, "", [], {}], ids=repr)
    def test_a_value_of_another_type_is_another_value(self, old: Any, new: Any) -> None:
        check({"a": 0, "b": [5]}, [replace("/a", old)], [replace("/a", new)], [])
        check({"a": 0, "b": [5]}, [replace("/b/0", old)], [replace("/b/0", new)], [])

    def test_an_object_that_was_written_as_a_whole_is_merged_deeply(self) -> None:
        document = {"a": {"x": {"n": 1}, "y": 1}}
        check(document, [replace("/a", {"x": {"n": 2}})], [replace("/a/x/n", 3)], [])

    def test_a_new_root_is_installed(self) -> None:
        live = check({"a": {"n": 1}}, [replace("/a/n", 2)], [replace("", {"b": 1, "a": {}})], [])
        assert list(live) == ["b", "a"]

    def test_a_plain_document_stays_plain(self) -> None:
        shown: dict[str, Any] = {}
        brought = add("/a", {"b": [{}]})
        converge(shown, {"a": {"b": [{}]}}, [], [brought], [])
        assert shown == {"a": {"b": [{}]}}
        assert all(type(item) in (dict, list) for item in containers(shown))
        assert shown["a"] is not brought["value"]


def test_only_the_places_that_operations_name_are_looked_at() -> None:
    # The two differ where no operation leads, which a comparison of those places would repair.
    live = make_live({"n": 1, "other": {"x": 1}, "a": [{"n": 1}, "seen", "mine"]}, None)
    target = {"n": 2, "other": {"x": 2}, "a": [{"n": 2}, "unseen", "theirs", "mine"]}
    converge(
        live,
        target,
        [add("/a/2", "mine")],
        [replace("/n", 2), add("/a/2", "theirs")],
        [add("/a/3", "mine")],
    )
    assert to_plain(live) == {
        "n": 2,
        "other": {"x": 1},
        "a": [{"n": 1}, "seen", "theirs", "mine"],
    }


class TestArrays:
    """Arrays change by one assignment, and their elements are found where they came from."""

    def test_my_element_that_has_arrived_is_kept(self) -> None:
        document = {"a": [{"n": 0}]}
        live = make_live({"a": [{"n": 0}, {"m": 1}]}, None)
        first, mine = live["a"][0:2]
        before = [add("/a/1", {"m": 1})]
        target = replayed(document, before)
        converge(live, target, before, before, [])
        assert live["a"][0] is first
        assert live["a"][1] is mine

    def test_my_element_moves_behind_theirs(self) -> None:
        document = {"a": [{"n": 0}]}
        live = make_live({"a": [{"n": 0}, {"m": 1}]}, None)
        mine = live["a"][1]
        arrived, after = [add("/a/1", {"t": 1})], [add("/a/2", {"m": 1})]
        target = replayed(replayed(document, arrived), after)
        converge(live, target, [add("/a/1", {"m": 1})], arrived, after)
        assert to_plain(live) == {"a": [{"n": 0}, {"t": 1}, {"m": 1}]}
        assert live["a"][2] is mine

    def test_an_element_is_changed_inside_wherever_it_has_moved(self) -> None:
        document = {"a": [{"n": 0}, {"n": 1}]}
        live = make_live({"a": [{"n": 5}, {"n": 1}]}, None)
        first, second = live["a"][0:2]
        arrived = [add("/a/0", "new"), replace("/a/2/n", 7), remove("/a/0"), add("/a/1", "x")]
        converge(live, replayed(document, arrived), [replace("/a/0/n", 5)], arrived, [])
        assert to_plain(live) == {"a": [{"n": 0}, "x", {"n": 7}]}
        assert live["a"][0] is first
        assert live["a"][2] is second

    def test_an_element_that_was_replaced_is_merged_where_it_is(self) -> None:
        document = {"a": [{"n": 0}, 1]}
        live = make_live({"a": [{"n": 0}]}, None)
        element = live["a"][0]
        arrived = [add("/a/0", 5), replace("/a/1", {"n": 2, "m": 3})]
        converge(live, replayed(document, arrived), [remove("/a/1")], arrived, [])
        assert to_plain(live) == {"a": [5, {"n": 2, "m": 3}, 1]}
        assert live["a"][1] is element

    def test_an_element_that_i_removed_comes_back(self) -> None:
        check({"a": [{"n": 0}, {"n": 1}, 2]}, [remove("/a/1")], [replace("/a/0/n", 5)], [])

    def test_arrays_in_arrays(self) -> None:
        document = {"a": [[{"n": 0}], [1, 2]]}
        check(
            document,
            [add("/a/1/1", 5), replace("/a/0/0/n", 3)],
            [add("/a/0", [9]), remove("/a/2/0"), add("/a/1/0", {})],
            [add("/a/2/1", 5), replace("/a/1/1/n", 3)],
        )

    def test_numbers_can_be_names_of_fields(self) -> None:
        check({"0": {"1": [1]}}, [add("/0/1/1", 2)], [add("/0/0", 1), remove("/0/1/0")], [])


def test_origins_follow_insertions_and_removals() -> None:
    elements, alignment = list(range(6)), Alignment(6)
    acts = [(1, 6), (1, 7), (1, 3), (1, 4), (0, 3), (0, 0), (0, 2), (1, 0), (1, 1), (0, 3), (0, 0)]
    for grows, index in acts:
        if grows:
            elements.insert(index, NEW)
            alignment.insert(index)
        else:
            del elements[index]
            alignment.remove(index)
        assert [alignment.original_index(place) for place in range(len(elements))] == elements
    blocks = list(common_blocks(alignment, Alignment(6)))
    assert [(block.original, block.length) for block in blocks] == [(1, 1), (3, 3)]


class TestInPlace:
    """The two steps that readers cannot see halves of."""

    def test_appending_replaces_the_value_of_a_name_that_moves(self) -> None:
        fields = {"a": 1, "b": 2}
        append_fields(fields, ["a", "c"], {"a": 3, "c": 4})
        assert list(fields.items()) == [("b", 2), ("a", 3), ("c", 4)]

    @pytest.mark.parametrize(
        ("start", "stop", "values", "result"),
        [
            (0, 3, [1, 2, 3], [1, 2, 3]),
            (1, 1, [], [1, 2, 3]),
            (1, 2, [2, 2], [1, 2, 2, 3]),
            (0, 3, [], []),
            (3, 3, [4], [1, 2, 3, 4]),
            (0, 3, [3, 2, 1], [3, 2, 1]),
        ],
    )
    def test_a_splice_puts_values_in_the_place_of_others(
        self, start: int, stop: int, values: list[Any], result: list[Any]
    ) -> None:
        array = [1, 2, 3]
        assign_slice(array, start, stop, values)
        assert array == result


class Watched:
    """A thread that reads without a lock, as fast as it can, until the block ends."""

    def __init__(self, read: Callable[[], None]) -> None:
        self.read = read
        self.stop = threading.Event()
        self.reads = 0
        self.errors: list[BaseException] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self.stop.is_set():
                self.read()
                self.reads += 1
        except BaseException as error:
            self.errors.append(error)

    def __enter__(self) -> Watched:
        self.interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        self.thread.start()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.stop.set()
        self.thread.join()
        sys.setswitchinterval(self.interval)
        assert self.errors == []
        assert self.reads


SIZE = 4


def grown(live: Any, seen: dict[str, int]) -> None:
    """Every field is there, no counter has gone back, and no array is half changed."""
    found = {
        "a": live["a"],
        "b": live["b"]["n"],
        "c": live["c"],
        "first": live["items"][0]["n"],
        "inside": live["fixed"][1]["n"],
    }
    for name, value in found.items():
        assert value >= seen.get(name, 0), name
    assert len(live["items"]) == SIZE
    seen.update(found)


def a_round(number: int) -> list[Any]:
    """What one writer does: counters grow, fields change places, elements move up."""
    moved = {1: "a", 2: "b", 3: "c"}.get(number % 4)
    value = {"n": number} if moved == "b" else number
    return [
        *([remove(f"/{moved}"), add(f"/{moved}", value)] if moved else []),
        replace("/a", number),
        replace("/b/n", number),
        replace("/c", number),
        replace("/fixed/1/n", number),
        add("/items/0", {"n": number}),
        remove(f"/items/{SIZE}"),
    ]


def test_readers_never_miss_a_key_or_see_a_value_go_back() -> None:
    document: Any = {
        "a": 0,
        "b": {"n": 0},
        "c": 0,
        "items": [{"n": 0} for _ in range(SIZE)],
        "fixed": [0, {"n": 0}],
    }
    live = make_live(document, None)
    before: list[Any] = []
    seen: dict[str, int] = {}
    with Watched(lambda: grown(live, seen)) as reader:
        for number in range(1, 20_001):
            # Every other time my own change is taken back, so that keys return to their places.
            arrived = a_round(2 * number)
            after = a_round(2 * number + 1) if number % 2 else []
            middle = replayed(document, arrived)
            target = replayed(middle, after)
            converge(live, target, before, arrived, after)
            document, before = middle, after
            if reader.errors:
                break
    assert text(to_plain(live)) == text(document)


def test_readers_of_an_object_that_is_installed_never_miss_a_key() -> None:
    states = [
        {"a": 1, "b": {"n": 1}, "c": [1, 2], "d": 4},
        {"c": [2, 3], "b": {"n": 2}, "a": 2},
        {"b": {"n": 3}, "x": 1, "a": 1.5, "c": [0, 1]},
    ]
    live = make_live(states[0], None)

    def read() -> None:
        assert live["a"]
        assert live["b"]["n"]
        assert len(live["c"]) == 2

    with Watched(read):
        for number in range(10_000):
            replace_content(live, states[number % 3])
    assert text(to_plain(live)) == text(states[9_999 % 3])
