"""The document language, usable alone: MongoDB updates and filters, RFC 6902 patches, containers.

Pure: no I/O, no clock, no thread, no randomness. State and update in, RFC 6902 operations out.

>>> from memsync.document import apply_update, compile_update
>>> compile_update({"n": 1}, {"$inc": {"n": 1}})
[{'op': 'replace', 'path': '/n', 'value': 2}]
>>> apply_update({"tags": ["a"]}, {"$addToSet": {"tags": {"$each": ["a", "b"]}}})
{'tags': ['a', 'b']}
"""

from memsync.document.containers import Guard, ReadOnlyDict, ReadOnlyList, make_live, to_plain
from memsync.document.converge import converge
from memsync.document.difference import Operation
from memsync.document.draft import Draft
from memsync.document.fork import Fork
from memsync.document.install import install
from memsync.document.order import identical
from memsync.document.patch import (
    apply_patch,
    check_patch,
    compile_patch,
    exists_at_pointer,
    invert,
    value_at_pointer,
)
from memsync.document.query import check_filter, matches
from memsync.document.replay import replay
from memsync.document.touches import Touches, filtered_by, looked_at, touched_by
from memsync.document.update import apply_update, check_update, compile_update
from memsync.document.values import normalize
from memsync.document.written import Written, as_created, is_guarded, written

__all__ = [
    "Draft",
    "Fork",
    "Guard",
    "Operation",
    "ReadOnlyDict",
    "ReadOnlyList",
    "Touches",
    "Written",
    "apply_patch",
    "apply_update",
    "as_created",
    "check_filter",
    "check_patch",
    "check_update",
    "compile_patch",
    "compile_update",
    "converge",
    "exists_at_pointer",
    "filtered_by",
    "identical",
    "install",
    "invert",
    "is_guarded",
    "looked_at",
    "make_live",
    "matches",
    "normalize",
    "replay",
    "to_plain",
    "touched_by",
    "value_at_pointer",
    "written",
]
