"""The document language, usable alone: MongoDB updates and filters, RFC 6902 patches, containers.

Pure: no I/O, no clock, no thread, no randomness. State and update in, RFC 6902 operations out.

>>> from memsync.document import apply_update, compile_update
>>> compile_update({"n": 1}, {"$inc": {"n": 1}})
[{'op': 'replace', 'path': '/n', 'value': 2}]
>>> apply_update({"tags": ["a"]}, {"$addToSet": {"tags": {"$each": ["a", "b"]}}})
{'tags': ['a', 'b']}
"""

from memsync.document.containers import Guard, ReadOnlyDict, ReadOnlyList, make_live, to_plain
from memsync.document.draft import Draft
from memsync.document.install import install
from memsync.document.patch import apply_patch, check_patch, compile_patch, invert
from memsync.document.query import check_filter, matches
from memsync.document.replay import replay
from memsync.document.update import apply_update, check_update, compile_update
from memsync.document.values import normalize

__all__ = [
    "Draft",
    "Guard",
    "ReadOnlyDict",
    "ReadOnlyList",
    "apply_patch",
    "apply_update",
    "check_filter",
    "check_patch",
    "check_update",
    "compile_patch",
    "compile_update",
    "install",
    "invert",
    "make_live",
    "matches",
    "normalize",
    "replay",
    "to_plain",
]
