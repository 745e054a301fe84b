"""RFC 6902 patches as input: check, compile against a document, apply and invert them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..failures import ForeignValueError, brief, patch_failure
from ..operations import Operation
from ..order import type_name
from ..paths import parse_pointer
from ..traversal import MISSING
from ..values import detached, explain_foreign, normalize
from .dry_run import DryRun
from .overlay import ShadowObject, child, is_array, plain

# The member besides "op" and "path". Others are ignored, as RFC 6902 requires.
_MEMBERS = {
    "add": "value",
    "copy": "from",
    "move": "from",
    "remove": None,
    "replace": "value",
    "test": "value",
}

# What the extension of ``test`` calls the containers.
_TYPES = ("object", "array")


def check_patch(patch: Any) -> list[Operation]:
    """Return a detached copy of an RFC 6902 patch if it is well-formed.

    `patch` is a list of operations, or an object whose ``patch`` attribute is such a list, for
    example a `jsonpatch.JsonPatch`. As an extension of the standard, a ``test`` with ``"absent":
    True`` instead of a value tests that there is no value, and with ``False`` that there is one.
    With ``"type": "object"`` or ``"array"`` instead it tests that the value is one. Raises
    `UpdateError`, or `NotSerializableError` for values that are not JSON.

    >>> check_patch([{"op": "remove", "path": "/a", "comment": "why"}])
    [{'op': 'remove', 'path': '/a'}]
    """
    operations = getattr(patch, "patch", patch)
    if not isinstance(operations, list):
        raise patch_failure("bad_operand", "a JSON patch must be a list of operations")
    return [_check_operation(operation) for operation in list.__iter__(operations)]


def _check_operation(operation: Any) -> Operation:
    if not isinstance(operation, dict):
        raise patch_failure("bad_operand", f"an operation must be an object: {brief(operation)}")
    kind, path = dict.get(operation, "op"), dict.get(operation, "path")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise patch_failure("unknown_operator", f"unknown operation {brief(kind)}", path)
    checked: Operation = {"op": kind, "path": _check_pointer(operation, "path")}
    member = _MEMBERS[kind]
    if kind == "test" and isinstance(dict.get(operation, "absent"), bool):
        checked["absent"] = operation["absent"]
    elif kind == "test" and "value" not in operation and dict.get(operation, "type") in _TYPES:
        checked["type"] = str(operation["type"])
    elif member == "from":
        checked["from"] = _check_pointer(operation, "from")
    elif member == "value":
        if "value" not in operation:
            raise patch_failure("bad_operand", f"{kind} needs a value", path)
        depth = len(parse_pointer(checked["path"]))
        checked["value"] = normalize(operation["value"], checked["path"], depth)
    return checked


def _check_pointer(operation: Operation, member: str) -> str:
    pointer = dict.get(operation, member)
    if not isinstance(pointer, str):
        raise patch_failure("bad_operand", f"{operation['op']} needs a string as {member!r}")
    checked: str = normalize(pointer, member)
    for token in parse_pointer(checked):
        normalize({token: None}, checked)  # a token may become a field name
    return checked


def compile_patch(document: Any, patch: Any) -> list[Operation]:
    """Reduce a patch to operations that replay on `document` without failing.

    The result is the net difference, made of ``add``, ``remove`` and ``replace`` only; ``[]`` if
    nothing changes. Raises `UpdateError` if an operation cannot be applied, and `ConflictError`
    with ``path`` and ``value`` if a ``test`` fails. A document that is an object must stay one.

    >>> compile_patch({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}])
    [{'op': 'remove', 'path': '/a'}, {'op': 'add', 'path': '/b', 'value': 1}]
    """
    return _net_change(document, patch, DryRun.operations)


def apply_patch(document: Any, patch: Any) -> Any:
    """Return a new document with the patch applied; `document` itself does not change.

    Raises as `compile_patch` does, and `NotSerializableError` if `document` is not JSON. Unlike the
    shared object, a document may become an array here, because the public test suite for RFC 6902
    requires it, but not a scalar.

    >>> apply_patch({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}])
    {'a': [1, 2]}
    """
    checked = check_patch(patch)
    dry_run = _dry_run(normalize(document), checked)
    if not is_array(dry_run.root):
        _require_object(document, dry_run)
    return plain(dry_run.root)


def invert(document: Any, patch: Any) -> list[Operation]:
    """Return the patch that undoes `patch`, given the document before `patch`.

    The inverse also restores the order of keys: it sets the keys after a removed one again, or
    replaces their object. Raises as `compile_patch` does.

    >>> invert({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}])
    [{'op': 'replace', 'path': '/a', 'value': 1}]
    """
    return _net_change(document, patch, DryRun.inverse)


def _net_change(
    document: Any, patch: Any, result: Callable[[DryRun], list[Operation]]
) -> list[Operation]:
    checked = check_patch(patch)
    try:
        dry_run = _dry_run(document, checked)
        _require_object(document, dry_run)
        return result(dry_run)
    except (ForeignValueError, RecursionError):
        explain_foreign(document)
        raise


def _dry_run(document: Any, operations: list[Operation]) -> DryRun:
    dry_run = DryRun(document)
    for operation in operations:
        dry_run.apply(operation)
    return dry_run


def _require_object(document: Any, dry_run: DryRun) -> None:
    root = dry_run.root
    if isinstance(document, dict) and not isinstance(root, (dict, ShadowObject)):
        actual = type_name(plain(root))
        raise patch_failure("bad_value", f"the document must stay an object, not be {actual}", "")


def value_at_pointer(document: Any, pointer: str) -> Any:
    """Return the detached value at an RFC 6901 pointer, or None if there is none.

    >>> value_at_pointer({"a": [1, 2]}, "/a/1")
    2
    """
    node = _at_pointer(document, pointer)
    return None if node is MISSING else detached(node)


def exists_at_pointer(document: Any, pointer: str) -> bool:
    """Whether there is a value at an RFC 6901 pointer.

    >>> exists_at_pointer({"a": [1, 2]}, "/a/2")
    False
    """
    return _at_pointer(document, pointer) is not MISSING


def _at_pointer(document: Any, pointer: str) -> Any:
    node = document
    for token in parse_pointer(pointer):
        node = child(node, token)
    return node
