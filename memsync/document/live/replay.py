"""Replay: bringing the operations which the host has compiled into a live object, in place.

The cost follows the patch, not the object. It is all or nothing: several operations are tried on an
overlay before the first of them is done, so nothing is ever undone where a reader could see it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...errors import UpdateError
from ..containers import ReadOnlyDict, to_live, to_plain
from ..failures import brief, patch_failure
from ..operations import Operation
from ..patch.dry_run import DryRun
from ..patch.overlay import ShadowObject, child
from ..paths import Parts, above, pointer_index, split
from .replace import install

_KINDS = ("replace", "add", "remove")
_SCALARS = frozenset({type(None), bool, int, float, str})


def replay(root: Any, operations: list[Operation], *, fit: bool = False) -> None:
    """Apply ``add``, ``remove`` and ``replace`` operations to `root`, in place.

    In a live `ReadOnlyDict` the values become live containers under its guard, which the caller
    holds. A plain dict gets plain copies. Raises `UpdateError` when an operation cannot be applied;
    `root` is then as it was. With `fit` the caller vouches that they can, since they were just
    compiled against `root` or an equal document, and the look ahead is spared.

    >>> document = {"a": {"n": 1}}
    >>> replay(document, [{"op": "replace", "path": "/a/n", "value": 2}])
    >>> document
    {'a': {'n': 2}}
    """
    if len(operations) > 1 and not fit and not _each_fits(root, operations):
        _replay_checked(root, operations)
        return
    for operation in operations:
        write(root, operation)


def _each_fits(root: Any, operations: list[Operation]) -> bool:
    """Whether operations fit that have nothing to do with each other, judged one by one.

    That is so for most updates, and spares them the overlay, which copies the arrays they change.
    Elements of one array may come and go one after the other if nothing is changed inside of them.
    """
    lengths: dict[str, int] = {}  # of the arrays whose elements come and go, as it will be
    direct: Counter[str] = Counter()  # how many operations there are on elements of an array
    named: set[str] = set()
    passed: Counter[str] = Counter()  # how many operations lead through a place
    for operation in operations:
        try:
            kind, pointer = operation["op"], operation["path"]
            parents, last = split(pointer)
            complete = kind == "remove" or ("value" in operation and kind in _KINDS)
        except (KeyError, TypeError, UpdateError):
            return False  # trying it says what is wrong
        container = _descend(root, parents)
        if not complete or last is None or pointer in named:
            return False
        if isinstance(container, dict):
            if kind != "add" and last not in container:
                return False
            named.add(pointer)
        elif isinstance(container, list):
            array = pointer[: pointer.rindex("/")]
            length = lengths.get(array, len(container))
            index = length if last == "-" and kind == "add" else pointer_index(last)
            if index is None or index > length - (kind != "add"):
                return False
            direct[array] += 1
            if kind == "replace":
                named.add(pointer)
            else:
                lengths[array] = length + (1 if kind == "add" else -1)
        else:
            return False
        passed.update(above(pointer))
    return named.isdisjoint(passed) and all(passed[array] == direct[array] for array in lengths)


def _replay_checked(root: Any, operations: list[Operation]) -> None:
    """Replay what is tried on an overlay first, as a whole."""
    dry_run = DryRun(root)
    values = []
    for operation in operations:
        _check(operation)
        dry_run.apply(operation)
        if isinstance(root, dict) and not isinstance(dry_run.root, (dict, ShadowObject)):
            raise patch_failure("bad_value", "the document must stay an object", "")
        values.append(_converted(root, operation.get("value")))
    for operation, value in zip(operations, values, strict=True):
        write(root, operation, value)


def _converted(root: Any, value: Any) -> Any:
    return to_live(value, root._guard) if isinstance(root, ReadOnlyDict) else to_plain(value)


def _check(operation: Any) -> None:
    """What `DryRun` takes for granted, and that it is one of the kinds which are replayed."""
    try:
        split(operation["path"])
        complete = operation["op"] == "remove" or "value" in operation
        if complete and operation["op"] in _KINDS:
            return
    except (KeyError, TypeError):
        pass
    raise _malformed(operation)


def _malformed(operation: Any) -> UpdateError:
    return patch_failure("bad_operand", f"no operation that can be replayed: {brief(operation)}")


_UNKNOWN: Any = object()


def write(root: Any, operation: Operation, converted: Any = _UNKNOWN) -> None:
    """Do one operation, or raise and do nothing; `converted` is its value, if that is known."""
    try:
        kind, pointer = operation["op"], operation["path"]
        value = None if kind == "remove" else operation["value"]
        parents, last = split(pointer)
    except (KeyError, TypeError):
        raise _malformed(operation) from None
    if kind not in _KINDS:
        raise _malformed(operation)
    if converted is not _UNKNOWN:
        value = converted
    elif type(value) not in _SCALARS:
        value = _converted(root, value)
    node = root
    try:
        for token in parents:
            node = _get(node, token)
    except TypeError:
        # Not objects all the way: an array wants a number, a wrong path its error.
        node = _descend(root, parents)
    if last is None:
        _write_root(root, kind, value)
    elif isinstance(node, dict):
        if kind != "add" and last not in node:
            raise _impossible(pointer)
        if kind == "remove":
            dict.__delitem__(node, last)
        else:
            dict.__setitem__(node, last, value)
    elif isinstance(node, list):
        _write_element(node, kind, last, value, pointer)
    else:
        raise _impossible(pointer)


# Not node[token], which may run the code of a class.
_get = dict.get


def _write_root(root: Any, kind: str, value: Any) -> None:
    if kind == "remove" or not isinstance(value, dict):
        raise patch_failure("bad_value", "the document must stay an object", "")
    install(root, value)


def _descend(root: Any, tokens: Parts) -> Any:
    node = root
    for token in tokens:
        node = child(node, token)
    return node


def _write_element(array: list[Any], kind: str, token: str, value: Any, pointer: str) -> None:
    index = len(array) if token == "-" and kind == "add" else pointer_index(token)
    if index is None or index > len(array) or (kind != "add" and index == len(array)):
        raise _impossible(pointer)
    if kind == "add":
        list.insert(array, index, value)
    elif kind == "replace":
        list.__setitem__(array, index, value)
    else:
        list.__delitem__(array, index)


def _impossible(pointer: str) -> UpdateError:
    return patch_failure("path_not_viable", f"nothing can be replayed at {pointer!r}", pointer)
