"""A *run*: operations that set many fields of one object, done by one loop in C.

``dict.update`` sets the fields in the order of the operations, and no other thread sees a part of
them. A run needs no overlay: its fields differ, so it fits if the fields that it replaces exist.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, NamedTuple

from ...lasting import lasting
from ..containers import LIVE, ReadOnlyDict, note_size, to_live, to_plain
from ..foreign_writes import check_untouched
from ..operations import Operation
from ..order import SCALAR_TYPES
from ..patch.overlay import child
from ..paths import Parts, common_prefix, parse_pointer

SHORTEST = 32
"""Fewer operations than these are done one by one."""

_KINDS = ({"add"}, {"replace"}, {"add", "replace"})
_TYPES = {str}
_KIND, _PATH, _VALUE = itemgetter("op"), itemgetter("path"), itemgetter("value")


@lasting
class Run(NamedTuple):
    """The tokens of the object, the new values by name, and which of these must exist before."""

    parents: Parts
    fields: dict[str, Any]
    replaced: list[str]

    def fits(self, root: Any) -> bool:
        """Whether it can be written to `root`."""
        node = descend(root, self.parents)
        return isinstance(node, dict) and set(self.replaced) <= dict.keys(node)

    def write(self, root: Any) -> dict[str, Any]:
        """Write it to `root`, which it fits; returns the object that has changed.

        Raises `ForeignWriteError` if other code than memsync's has changed that object.
        """
        node: dict[str, Any] = descend(root, self.parents)
        check_untouched(node)
        dict.update(node, self.fields if self.is_scalar else self._converted(root))
        if type(node) in LIVE:
            note_size(node)
        return node

    @property
    def is_scalar(self) -> bool:
        """Whether no value is a container."""
        return SCALAR_TYPES.issuperset(map(type, self.fields.values()))

    def _converted(self, root: Any) -> dict[str, Any]:
        return {
            name: value if type(value) in SCALAR_TYPES else as_held(root, value)
            for name, value in self.fields.items()
        }


@lasting
class RunOperations(list[Operation]):
    """What a ``$set`` of many new fields has compiled to, a run; nobody changes the list."""

    __slots__ = ("run",)

    def __init__(self, operations: list[Operation], run: Run) -> None:
        super().__init__(operations)
        self.run = run


def tells_write_set(operations: list[Operation]) -> bool:
    """Whether the update's write set is a ``$set`` of the place and the value of each of these.

    That is so where it sets new fields, unless a name may be the index of a new element.
    """
    return isinstance(operations, RunOperations) and not any(
        map(str.isdigit, operations.run.fields)
    )


def run_in(root: Any, operations: list[Operation]) -> Run | None:
    """The operations as a run that fits `root`; None if they are few or other ones."""
    run = run_of(operations) if len(operations) >= SHORTEST else None
    return run if run is not None and run.fits(root) else None


def run_of(operations: list[Operation]) -> Run | None:
    """The operations as a run; None if they are other ones, also malformed ones.

    >>> run = run_of([{"op": "add", "path": f"/a/{n}", "value": n} for n in range(100)])
    >>> run.parents, run.fields["99"], run.fits({"a": {}}), run.fits({"a": []})
    (('a',), 99, True, False)
    """
    if isinstance(operations, RunOperations):
        return operations.run
    try:
        kinds = set(map(_KIND, operations))
        paths = list(map(_PATH, operations))
        values = list(map(_VALUE, operations))
    except (KeyError, TypeError):
        return None
    if kinds not in _KINDS or not _TYPES.issuperset(map(type, paths)):
        return None
    prefix = common_prefix(paths, "/")
    if not prefix or prefix[0] != "/" or "~" in "".join(paths):
        return None
    begin = len(prefix)
    fields = dict(zip([path[begin:] for path in paths], values, strict=True))
    if len(fields) != len(operations):
        return None
    replaced = []
    if "replace" in kinds:
        replaced = [each["path"][begin:] for each in operations if each["op"] == "replace"]
    return Run(parse_pointer(prefix[:-1]), fields, replaced)


def as_held(root: Any, value: Any) -> Any:
    """A copy of a value, as the document `root` is to hold it."""
    return to_live(value, root._guard) if isinstance(root, ReadOnlyDict) else to_plain(value)


def descend(root: Any, tokens: Parts) -> Any:
    """The value to which tokens lead in a document, or `MISSING`."""
    node = root
    for token in tokens:
        node = child(node, token)
    return node
