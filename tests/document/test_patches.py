"""RFC 6902 as input, replay in place, and undoing."""

from __future__ import annotations

from typing import Any

import jsonpatch
import pytest

from memsync.document import (
    ReadOnlyDict,
    ReadOnlyList,
    apply_patch,
    check_patch,
    compile_patch,
    invert,
    make_live,
    replay,
)
from memsync.document.patch import dry_run, overlay
from memsync.errors import ConflictError, NotSerializableError, UpdateError

from .document_strategies import copied, text


def op(kind: str, path: str, **members: Any) -> dict[str, Any]:
    return {"op": kind, "path": path, **members}


# document, patch, what it is reduced to
REDUCED: list[tuple[Any, list[Any], list[Any]]] = [
    ({"a": 1}, [], []),
    ({"a": 1}, [op("replace", "/a", value=1)], []),
    ({"a": 1}, [op("replace", "/a", value=1.0)], [op("replace", "/a", value=1.0)]),
    ({"a": 1}, [op("add", "/a", value=2)], [op("replace", "/a", value=2)]),
    ({}, [op("add", "/b", value=1), op("remove", "/b")], []),
    ({"a": 1}, [op("remove", "/a"), op("add", "/a", value=1)], []),
    (
        {"a": 1, "b": 2},
        [op("remove", "/a"), op("add", "/a", value=1)],
        [op("remove", "/a"), op("add", "/a", value=1)],
    ),
    ({"a": {"b": 1}}, [op("copy", "/c", **{"from": "/a"})], [op("add", "/c", value={"b": 1})]),
    ({"a": 1}, [op("move", "/a", **{"from": "/a"})], []),
    (
        {"a": {"b": 1}},
        [op("move", "/c", **{"from": "/a"}), op("replace", "/c/b", value=2)],
        [op("remove", "/a"), op("add", "/c", value={"b": 2})],
    ),
    ({"a": [1, 2]}, [op("add", "/a/-", value=3)], [op("add", "/a/2", value=3)]),
    ({"a": [1, 2]}, [op("add", "/a/0", value=0)], [op("add", "/a/0", value=0)]),
    ({"a": [1, 2]}, [op("remove", "/a/0"), op("add", "/a/0", value=1)], []),
    ({"a": [1, 2]}, [op("remove", "/a/0")], [op("remove", "/a/0")]),
    (
        {"a": [{"x": 1}, {"x": 2}]},
        [op("replace", "/a/1/x", value=5), op("remove", "/a/0")],
        [op("remove", "/a/0"), op("replace", "/a/0/x", value=5)],
    ),
    (
        {"a": [{"x": 1}, 2]},
        [
            op("add", "/a/0", value={"y": 1}),
            op("add", "/a/0/z", value=2),
            op("add", "/a/1/w", value=3),
        ],
        [op("add", "/a/0", value={"y": 1, "z": 2}), op("add", "/a/1/w", value=3)],
    ),
    (
        {"a": [1, 2, 3]},
        [op("remove", "/a/1"), op("add", "/a/1", value=7), op("add", "/a/2", value=8)],
        [op("replace", "/a/1", value=7), op("add", "/a/2", value=8)],
    ),
    (
        {"a": [1, 2, 3]},
        [op("remove", "/a/2"), op("remove", "/a/1"), op("replace", "/a/0", value=9)],
        [op("remove", "/a/2"), op("remove", "/a/1"), op("replace", "/a/0", value=9)],
    ),
    ({"a": 1}, [op("test", "/a", value=1.0), op("test", "", value={"a": 1})], []),
    ({"a": 1}, [op("test", "/b", absent=True), op("test", "/a", absent=False)], []),
    ({"a": 1}, [op("replace", "", value={"b": 1})], [op("replace", "", value={"b": 1})]),
    ({"a": 1}, [op("add", "", value={"a": 1})], []),
    (
        {"a": 1, "b": 2},
        [op("remove", "/a"), op("test", "/a", absent=True), op("replace", "/b", value=3)],
        [op("replace", "/b", value=3), op("remove", "/a")],
    ),
    (
        {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5},
        [op("replace", "/e", value=0), op("remove", "/d"), op("replace", "/a", value=9)],
        [op("replace", "/e", value=0), op("replace", "/a", value=9), op("remove", "/d")],
    ),
    ({"a": [[1], 2]}, [op("replace", "/a/0/0", value=5)], [op("replace", "/a/0/0", value=5)]),
    (
        {"a": [1, {"x": 1}]},
        [op("replace", "/a/1/x", value=2), op("add", "/a/1/y", value=3), op("remove", "/a/1/x")],
        [op("remove", "/a/1/x"), op("add", "/a/1/y", value=3)],
    ),
    (
        {"a": [1, {"x": 1}]},
        [op("replace", "/a/1", value={"y": 1}), op("add", "/a/0", value=0), op("remove", "/a/1")],
        [op("replace", "/a/0", value=0), op("replace", "/a/1", value={"y": 1})],
    ),
    ({"": {"~": 1}}, [op("replace", "//~0", value=2)], [op("replace", "//~0", value=2)]),
]


@pytest.mark.parametrize(("document", "patch", "reduced"), REDUCED, ids=text)
def test_reduction(document: Any, patch: Any, reduced: Any) -> None:
    before = text(document)
    assert compile_patch(document, patch) == reduced
    assert compile_patch(make_live(document, None), jsonpatch.JsonPatch([])) == []
    replica = make_live(document, None)
    replay(replica, compile_patch(replica, patch))
    assert text(replica) == text(apply_patch(document, patch))
    assert text(document) == before
    undone = apply_patch(apply_patch(document, patch), invert(document, patch))
    assert text(undone) == before


def test_a_json_patch_object_is_taken() -> None:
    patch = jsonpatch.JsonPatch([op("replace", "/a", value=2)])
    assert compile_patch({"a": 1}, patch) == [op("replace", "/a", value=2)]
    assert check_patch(patch) == [op("replace", "/a", value=2)]


MALFORMED: list[tuple[Any, str]] = [
    (1, "bad_operand"),
    ({"op": "remove", "path": ""}, "bad_operand"),
    ([1], "bad_operand"),
    ([{}], "unknown_operator"),
    ([op("foo", "/a")], "unknown_operator"),
    ([{"op": ["add"], "path": "/a"}], "unknown_operator"),
    ([{"op": "add", "value": 1}], "bad_operand"),
    ([{"op": "add", "path": 1, "value": 1}], "bad_operand"),
    ([op("add", "/a")], "bad_operand"),
    ([op("test", "/a", absent=1)], "bad_operand"),
    ([op("move", "/a")], "bad_operand"),
    ([op("copy", "/a", **{"from": 1})], "bad_operand"),
    ([op("remove", "a")], "bad_value"),
    ([op("remove", "/a~2")], "bad_value"),
]

IMPOSSIBLE: list[tuple[list[Any], str]] = [
    ([op("remove", "/x")], "path_not_viable"),
    ([op("replace", "/x", value=1)], "path_not_viable"),
    ([op("add", "/x/y", value=1)], "path_not_viable"),
    ([op("add", "/n/y", value=1)], "path_not_viable"),
    ([op("add", "/l/9", value=1)], "path_not_viable"),
    ([op("add", "/l/01", value=1)], "path_not_viable"),
    ([op("add", "/l/x", value=1)], "path_not_viable"),
    ([op("replace", "/l/-", value=1)], "path_not_viable"),
    ([op("replace", "/l/00", value=1)], "path_not_viable"),
    ([op("remove", "/l/2")], "path_not_viable"),
    ([op("remove", "/l/99999999999")], "path_not_viable"),
    ([op("copy", "/q", **{"from": "/x"})], "path_not_viable"),
    ([op("move", "/d/e", **{"from": "/d"})], "bad_value"),
    ([op("remove", "")], "bad_value"),
]


@pytest.mark.parametrize(("patch", "kind"), MALFORMED + IMPOSSIBLE, ids=repr)
def test_what_cannot_be_applied(patch: Any, kind: str) -> None:
    document = {"n": 1, "l": [1, 2], "d": {}}
    before = text(document)
    for attempt in (compile_patch, apply_patch, invert):
        with pytest.raises(UpdateError) as caught:
            attempt(document, patch)
        assert (caught.value.kind, caught.value.server_code) == (kind, None)
    if isinstance(patch, list) and (patch, kind) in IMPOSSIBLE:
        with pytest.raises(UpdateError):
            compile_patch(document, [op("add", "/new", value=1), *patch])
        assert check_patch(patch)
    assert text(document) == before


@pytest.mark.parametrize("value", [[], 1, "s", None, True, ["x"]])
def test_an_object_stays_an_object(value: Any) -> None:
    patch = [op("replace", "", value=value)]
    with pytest.raises(UpdateError, match="must stay an object"):
        compile_patch({}, patch)
    if not isinstance(value, list):
        with pytest.raises(UpdateError, match="must stay an object"):
            apply_patch({}, patch)
    else:
        assert apply_patch({}, patch) == value
        with pytest.raises(UpdateError, match="must stay an object"):
            compile_patch({}, [*patch, op("add", "/-", value=1)])


@pytest.mark.parametrize(
    ("test", "value"),
    [
        (op("test", "/a", value=2), 1),
        (op("test", "/a", value=True), 1),
        (op("test", "/x", value=None), None),
        (op("test", "/a", absent=True), 1),
        (op("test", "/x", absent=False), None),
        (op("test", "/l", value=[2, 1]), [1, 2]),
    ],
)
def test_a_failing_test_is_a_conflict(test: Any, value: Any) -> None:
    with pytest.raises(ConflictError) as caught:
        compile_patch({"a": 1, "l": [1, 2]}, [op("replace", "/a", value=1), test])
    assert (caught.value.path, caught.value.value) == (test["path"], value)


def test_values_are_checked_with_their_depth_in_the_document() -> None:
    deep: Any = []
    for _ in range(98):
        deep = [deep]
    assert check_patch([op("add", "/a", value=deep)])
    for wrong in (
        [op("add", "/a/b", value=deep)],
        [op("add", "/a", value={1})],
        [op("add", "/" + "x" * 1025, value=1)],
        [op("move", "/x/y", **{"from": "/a"})],
        [op("copy", "/x/y", **{"from": "/a"})],
    ):
        with pytest.raises(NotSerializableError):
            compile_patch({"a": deep, "x": {}}, wrong)


def test_copies_of_copies_end_before_the_memory_does(monkeypatch: Any) -> None:
    monkeypatch.setattr(dry_run, "MAX_COPIED", 1000)
    patch = [op("copy", f"/{number}", **{"from": ""}) for number in range(30)]
    with pytest.raises(UpdateError, match="more than 1000 values"):
        compile_patch({"a": [1]}, patch)


class TestReplay:
    def test_live_values_are_converted_and_never_shared(self) -> None:
        guard = object()
        root = make_live({"l": [1], "d": {}}, guard)  # type: ignore[arg-type]  # any object will do
        value = {"x": [{"y": 1}]}
        replay(root, [op("add", "/d/v", value=value), op("add", "/l/1", value=value["x"])])
        assert type(root.d.v) is ReadOnlyDict
        assert type(root.l[1]) is ReadOnlyList
        assert root.d.v.x[0]._guard is guard
        value["x"][0]["y"] = 2
        assert root.d.v.x[0].y == root.l[1][0].y == 1

    def test_the_whole_document(self) -> None:
        root = make_live({"a": {"n": 1}, "b": 1}, None)
        inner = root.a
        replay(root, [op("replace", "", value={"a": {"n": 2}})])
        assert root == {"a": {"n": 2}}
        assert root.a is inner
        plain: dict[str, Any] = {"a": 1}
        replay(plain, [op("add", "", value={"b": 1}), op("add", "/c", value=2)])
        assert plain == {"b": 1, "c": 2}

    @pytest.mark.parametrize(
        "wrong",
        [
            op("remove", "/x"),
            op("replace", "/x", value=1),
            op("add", "/x/y", value=1),
            op("add", "/a/y", value=1),
            op("add", "/l/5", value=1),
            op("add", "/l/x", value=1),
            op("replace", "/l/1", value=1),
            op("remove", "/l/-"),
            op("remove", "/l/0/x"),
            op("remove", ""),
            op("replace", "", value=[]),
            op("replace", "", value=None),
            op("test", "/a", value=1),
            op("move", "/z", **{"from": "/a"}),
            op("add", "/z"),
            {"op": "add", "value": 1},
            {"op": "add", "path": None, "value": 1},
            {"path": "/a", "value": 1},
            op("add", "z", value=1),
            1,
            None,
            [],
        ],
        ids=repr,
    )
    def test_all_or_nothing(self, wrong: Any) -> None:
        state = {"a": 1, "l": [1], "d": {"x": 1}}
        for root in (make_live(state, None), copied(state)):
            for operations in (
                [wrong],
                [op("replace", "/d/x", value=2), wrong],
                [op("remove", "/l/0"), op("add", "/l/0", value=5), wrong],
            ):
                with pytest.raises(UpdateError):
                    replay(root, operations)
                assert text(root) == text(state)

    def test_nothing_to_do(self) -> None:
        root = make_live({"a": 1}, None)
        replay(root, [])
        assert root == {"a": 1}

    def test_later_operations_see_the_earlier_ones(self) -> None:
        root = make_live({"l": [{"x": 1}, {"x": 2}]}, None)
        replay(
            root,
            [op("remove", "/l/0"), op("replace", "/l/0/x", value=3), op("add", "/l/-", value=[])],
        )
        assert root == {"l": [{"x": 3}, []]}


class TestInvert:
    @pytest.mark.parametrize(
        ("document", "patch", "inverse"),
        [
            ({"a": 1}, [op("replace", "/a", value=2)], [op("replace", "/a", value=1)]),
            ({"a": 1}, [op("add", "/b", value=2)], [op("remove", "/b")]),
            ({"a": 1, "b": 2, "c": 3}, [op("remove", "/c")], [op("add", "/c", value=3)]),
            # The order of keys comes back too, the shorter way.
            (
                {"a": 1, "b": 2, "c": 3, "d": 4},
                [op("remove", "/c")],
                [op("remove", "/d"), op("add", "/c", value=3), op("add", "/d", value=4)],
            ),
            (
                {"x": {"a": 1, "b": 2, "c": 3}},
                [op("remove", "/x/a")],
                [op("replace", "/x", value={"a": 1, "b": 2, "c": 3})],
            ),
            ({"a": [1, 2, 3]}, [op("remove", "/a/1")], [op("add", "/a/1", value=2)]),
            (
                {"a": [{"x": 1}, 2]},
                [op("replace", "/a/0/x", value=5), op("add", "/a/0", value=0)],
                [op("replace", "/a/1/x", value=1), op("remove", "/a/0")],
            ),
            ({"a": 1}, [op("replace", "", value={})], [op("replace", "", value={"a": 1})]),
            ({"a": 1}, [op("test", "/a", value=1)], []),
        ],
        ids=text,
    )
    def test_is_short(self, document: Any, patch: Any, inverse: Any) -> None:
        assert invert(document, patch) == inverse
        after = jsonpatch.apply_patch(document, patch)
        assert text(jsonpatch.apply_patch(after, inverse)) == text(document)


def test_a_test_of_the_type_says_what_a_container_is() -> None:
    document = {"o": {}, "a": [1], "n": 1}
    kinds = {"/o": "object", "/a": "array", "": "object"}
    for path in ("/o", "/a", "/n", "/missing", "/a/0", ""):
        for kind in ("object", "array"):
            patch = [
                {"op": "test", "path": path, "type": kind, "comment": 1},
                {"op": "replace", "path": "/n", "value": 2},
            ]
            assert check_patch(patch)[0] == {"op": "test", "path": path, "type": kind}
            if kinds.get(path) == kind:
                assert compile_patch(document, patch) == patch[1:]
            else:
                with pytest.raises(ConflictError) as caught:
                    compile_patch(document, patch)
                assert caught.value.path == path


def test_a_test_of_a_type_sees_the_operations_before_it() -> None:
    patch = [
        {"op": "add", "path": "/a/-", "value": []},
        {"op": "add", "path": "/a/0/x", "value": 1},
        {"op": "test", "path": "/a", "type": "array"},
        {"op": "test", "path": "/a/0", "type": "object"},
        {"op": "test", "path": "/a/1", "type": "array"},
    ]
    assert apply_patch({"a": [{}]}, patch) == {"a": [{"x": 1}, []]}


def test_a_test_with_a_value_ignores_a_type_as_the_standard_says() -> None:
    patch = [{"op": "test", "path": "/n", "value": 1, "type": "array"}]
    assert compile_patch({"n": 1}, patch) == []
    with pytest.raises(UpdateError):
        check_patch([{"op": "test", "path": "/n", "type": "number"}])


@pytest.mark.parametrize("patch", [[], [op("test", "/n", value=1)], [op("test", "", value=None)]])
def test_a_patch_that_changes_nothing_copies_nothing(
    patch: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"n": 1, "large": [{}]}
    for operation in patch:
        if operation["path"] == "":
            operation["value"] = copied(document)
    copies: list[Any] = []
    monkeypatch.setattr(overlay, "plain", copies.append)
    assert compile_patch(document, patch) == []
    assert not copies
