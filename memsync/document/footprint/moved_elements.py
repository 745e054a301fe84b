"""Elements that move: which arrays a change shifts, and which elements an RFC 6902 list names.

An index names an element only as long as the elements before it stay. An update operator with an
index in its path means the position, as in MongoDB, and is compiled by the host. An RFC 6902 list,
such as the patch of a draft, means the element that its writer saw. So each entry notes the arrays
in which elements have moved, and a list that names an index is compared with these notes.

Such a note is a `PathWrite` of the kind `MOVED` at the array. Its tag is the lowest index that
moved, or is empty where the container as a whole has become another one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from ..operations import Operation
from ..paths import above, is_digits, parse_path, parse_pointer, pointer_index
from .write_set import INSIDE, OTHER, PathWrite

MOVED = "moved"
"""The kind of a note that elements of an array have moved; it meets no path of an update."""
WHOLE = -1
"""The index of a note on a whole container."""

# The kinds of writes that may move elements, or replace a container that the path does not name.
# The other kinds replace no more than the value at their path, which they note.
_MOVING = frozenset({OTHER, OTHER + INSIDE, "$min" + INSIDE, "$max" + INSIDE})
# The maximum number of arrays that an update of operators notes one by one.
_MAX_ARRAYS = 32


def may_move(writes: Iterable[PathWrite]) -> bool:
    """Whether writes of these kinds can move elements.

    >>> may_move([PathWrite("/a", "$push")]), may_move([PathWrite("/a", "other")])
    (False, True)
    """
    for write in writes:  # noqa: SIM110 -- a generator costs more, on the way of each write
        if write.kind in _MOVING:
            return True
    return False


def moved_elements(
    document: dict[str, Any],
    body: dict[str, Any] | list[Operation],
    writes: list[PathWrite],
    operations: list[Operation],
) -> list[PathWrite]:
    """Return the notes on an update that compiled to `operations` on `document`.

    For operators the compiled operations say what moves. A list says it itself, because compiled it
    is only the difference. A value that an element gets in place is no move: `writes` has its path.

    >>> update = {"$pop": {"a": -1}}
    >>> moved_elements({"a": [1, 2]}, update, [], [{"op": "remove", "path": "/a/0"}])
    [PathWrite(pointer='/a', kind='moved', tag=b'0')]
    """
    is_one = len(operations) == 1 and (isinstance(body, dict) or len(body) == 1)
    if is_one and operations[0]["op"] == "remove":  # as a queue is consumed
        array, _, token = operations[0]["path"].rpartition("/")
        if is_digits(token) and isinstance(_at(document, array), list):
            return [PathWrite(array, MOVED, token.encode())]
    if isinstance(body, list):
        notes = _Notes(document)
        notes.add_list(body)
        moved = notes.moved
    else:
        notes = _Notes(document, _sorts(body))
        notes.add_compiled(operations)
        moved = notes.moved
        if len(moved) > _MAX_ARRAYS:
            moved = {write.pointer: WHOLE for write in writes if write.kind in _MOVING}
    return [
        PathWrite(pointer, MOVED, b"" if index == WHOLE else b"%d" % index)
        for pointer, index in moved.items()
    ]


def _sorts(update: dict[str, Any]) -> bool:
    """Whether elements may be overwritten by other elements of their array."""
    operands = update.get("$push", {}).values()
    return any(isinstance(operand, dict) and "$sort" in operand for operand in operands)


def _overwrites(body: dict[str, Any] | list[Operation] | None) -> bool:
    """Whether the operations of an update may overwrite elements by others that it has moved."""
    if body is None:
        return False
    if isinstance(body, dict):
        return _sorts(body)
    return any(operation["op"] not in ("test", "replace") for operation in body)


class _Notes:
    """The notes on one change: by pointer, the lowest index that moved."""

    def __init__(self, document: dict[str, Any], sorts: bool = False) -> None:
        self.moved: dict[str, int] = {}
        self._document = document
        self._sorts = sorts
        self._lengths: dict[str, int | None] = {}  # None: no array

    def add_compiled(self, operations: list[Operation]) -> None:
        """Add the operations that operators compiled to."""
        for operation in operations:
            kind, path = operation["op"], operation["path"]
            if kind == "replace" and not self._sorts:
                if isinstance(operation["value"], (dict, list)) and not self._is_covered(path):
                    self.moved[path] = WHOLE
            elif not self._add(kind, path) and (
                kind == "remove" or isinstance(operation["value"], (dict, list))
            ):
                self.moved[path] = WHOLE

    def add_list(self, operations: list[Operation]) -> None:
        """Add the operations of an RFC 6902 list.

        What they set or remove at a key of an object is in the write set already, unless the key
        is a number.
        """
        for operation in operations:
            kind, path = operation["op"], operation["path"]
            if kind == "move" and not self._add("remove", operation["from"]):
                self.moved[operation["from"]] = WHOLE
            if kind in ("move", "copy") and not self._add("add", path):
                self.moved[path] = WHOLE
            elif kind in ("add", "remove") and not self._add(kind, path):
                is_number = is_digits(path.rpartition("/")[2])
                if is_number and isinstance(operation.get("value", []), (dict, list)):
                    self.moved[path] = WHOLE

    def _add(self, kind: str, path: str) -> bool:
        """Add a change to an element; False if the place is no element and not noted above."""
        if self._is_covered(path):
            return True
        array, _, token = path.rpartition("/")
        if not (token == "-" or is_digits(token)):
            return False
        length = self._length(array)
        if length is None:
            return False
        index = length if token == "-" else int(token)
        self._lengths[array] = length + {"add": 1, "remove": -1}.get(kind, 0)
        if kind != "add" or index < length:
            self.moved[array] = min(index, self.moved.get(array, index))
        return True

    def _is_covered(self, path: str) -> bool:
        """Whether the place lies in an element, or a container, that has moved."""
        if not self.moved:
            return False
        if self.moved.get(path) == WHOLE:
            return True
        for pointer in above(path):
            index = self.moved.get(pointer)
            if index is None:
                continue
            token, slash, _ = path[len(pointer) + 1 :].partition("/")
            # A change of the same array may move elements further in front.
            if index == WHOLE or (slash and is_digits(token) and int(token) >= index):
                return True
        return False

    def _length(self, pointer: str) -> int | None:
        if pointer not in self._lengths:
            node = _at(self._document, pointer)
            self._lengths[pointer] = len(node) if isinstance(node, list) else None
        return self._lengths[pointer]


def _at(document: Any, pointer: str) -> Any:
    """The value at a pointer, or None."""
    node = document
    for token in parse_pointer(pointer):
        node = _inside(node, token)
    return node


def _inside(node: Any, token: str) -> Any:
    """The value that a pointer token names, or None."""
    if isinstance(node, dict):
        return dict.get(node, token)
    index = pointer_index(token) if isinstance(node, list) else None
    return node[index] if index is not None and index < len(node) else None


class Element(NamedTuple):
    """An element of the array at the pointer `array`, which an operation names by its index.

    `reach` is the highest index that it may have had before the list. It is not `certain` if it
    counts on what earlier operations of the list have moved.
    """

    array: str
    reach: int
    certain: bool


def named_elements(
    document: dict[str, Any], operations: list[Operation]
) -> Iterator[tuple[str, list[Element]]]:
    """Yield the pointers of an RFC 6902 list that lead through arrays of `document`.

    Each comes with the elements that it names, from the outside in.

    >>> patch = [{"op": "remove", "path": "/a/0"}, {"op": "test", "path": "/a/1", "value": 3}]
    >>> for pointer, elements in named_elements({"a": [1, 2, 3]}, patch):
    ...     print(pointer, [(each.array, each.reach) for each in elements])
    /a/0 [('/a', 0)]
    /a/1 [('/a', 2)]
    """
    changes = _OwnChanges()
    for operation in operations:
        kind = operation["op"]
        for member in ("from", "path") if kind in ("move", "copy") else ("path",):
            pointer = operation.get(member)
            if not isinstance(pointer, str):
                continue  # the compiler refuses it
            elements, array = changes.elements(document, pointer)
            if elements:
                yield pointer, elements
            if array is not None:
                changes.add(
                    "remove" if member == "from" and kind == "move" else kind, member, pointer
                )


_Step = tuple[str, str, int | None, bool]  # container, token, index, whether it is the last


@lru_cache(maxsize=4096)
def _steps(pointer: str) -> tuple[_Step, ...]:
    """The way of a pointer as far as its last part that can be an index."""
    steps: list[_Step] = []
    at = ""
    tokens = pointer.split("/")[1:]
    for depth, token in enumerate(tokens, 1):
        name = token.replace("~1", "/").replace("~0", "~")
        steps.append((at, name, pointer_index(name), depth == len(tokens)))
        at = f"{at}/{token}"
    while steps and steps[-1][2] is None and steps[-1][1] != "-":
        del steps[-1]
    return tuple(steps)


class _OwnChanges:
    """What the operations of a list have done to arrays so far."""

    def __init__(self) -> None:
        self._removed: dict[str, int] = {}  # by array: the number of elements
        self._shifted: set[str] = set()
        self._appended: set[str] = set()

    def elements(self, document: Any, pointer: str) -> tuple[list[Element], str | None]:
        """The elements on the way of a pointer, and the array in which it ends, if it does."""
        elements: list[Element] = []
        node = document
        for at, token, index, is_last in _steps(pointer):
            if isinstance(node, list):
                if index is not None:
                    certain = at not in self._appended and (is_last or at not in self._shifted)
                    elements.append(Element(at, index + self._removed.get(at, 0), certain))
                if is_last:
                    return elements, at
            node = _inside(node, token)
        return elements, None

    def add(self, kind: str, member: str, pointer: str) -> None:
        """Add an operation on an element."""
        array, _, token = pointer.rpartition("/")
        if kind == "remove" or (kind == "move" and member == "from"):
            self._removed[array] = self._removed.get(array, 0) + 1
            self._shifted.add(array)
        elif member == "path" and kind in ("add", "copy", "move"):
            (self._appended if token == "-" else self._shifted).add(array)


def move_one(
    operations: Iterable[Operation],
    elements: list[Element],
    body: dict[str, Any] | list[Operation] | None = None,
) -> bool:
    """Whether compiled operations may put other elements where these are.

    With the update that compiled to them, `body`, what it overwrites by other elements counts, too.

    >>> removal = [{"op": "remove", "path": "/a/1"}]
    >>> [move_one(removal, [Element("/a", index, True)]) for index in (0, 1)]
    [False, True]
    """
    for operation in operations:
        path: str = operation["path"]
        container, _, token = path.rpartition("/")
        moved = pointer_index(token)
        if moved is not None and operation["op"] == "replace" and not _overwrites(body):
            moved = None
        for array, index, _ in elements:
            if array == path or array.startswith(f"{path}/"):
                return True
            if moved is not None and array == container and moved <= index:
                return True
    return False


def move_some(
    operations: Iterable[Operation],
    arrays: Collection[str],
    body: dict[str, Any] | list[Operation] | None = None,
) -> bool:
    """Whether compiled operations may move any element of an array, at any index on its way.

    `arrays` are pointers without their indexes (see `without_indexes`), because later operations
    have moved elements, and nobody knows at which index these were before.

    >>> removal = [{"op": "remove", "path": "/a/1/b/9"}]
    >>> move_some(removal, {"/a/*/b"}), move_some(removal, {"/a"})
    (True, False)
    """
    for operation in operations:
        path = without_indexes(operation["path"])
        is_moving = operation["op"] != "replace" or _overwrites(body)
        if is_moving and path.endswith("/*") and path[:-2] in arrays:
            return True
        if any(array == path or array.startswith(f"{path}/") for array in arrays):
            return True
    return False


def places_filled(body: Any) -> list[str]:
    """Return the pointers to which an update brings values that it has found elsewhere.

    >>> places_filled({"$rename": {"a": "b.c"}}), places_filled({"$set": {"a": 1}})
    (['/b/c'], [])
    """
    if isinstance(body, dict):
        renamed = body.get("$rename")
        return [update_pointer(to) for to in renamed.values()] if renamed else []
    if isinstance(body, list):
        return [each["path"] for each in body if each["op"] in ("move", "copy")]
    return []


def update_pointer(path: str) -> str:
    """Return the RFC 6901 pointer of a path in an update; its positional parts stay."""
    return parse_path(path).pointer


@lru_cache(maxsize=4096)
def without_indexes(pointer: str) -> str:
    """A pointer with a star for each part that may be an index.

    >>> without_indexes("/a/1/b/-")
    '/a/*/b/*'
    """
    return "/".join("*" if _may_be_index(token) else token for token in pointer.split("/"))


def _may_be_index(token: str) -> bool:
    return token == "-" or token[:1] == "$" or is_digits(token)
