"""The document language, usable alone: MongoDB updates and filters, RFC 6902 patches, containers.

The package is pure: no I/O, no clock, no threads, no randomness. A document and an update go in,
RFC 6902 operations come out.

Imports point one way, which `tests/tidy/test_document_folders.py` enforces. A file may import from
its own folder and from:

    flat files                     nothing else
    query, patch, footprint        the flat files
    live                           the flat files, patch
    observed                       the flat files, live
    update                         the flat files, query, patch, live

Other packages import from `memsync.document`, never from its subfolders. Names are imported at
first use, so that a command like ``memsync get`` loads only the two modules that it needs.

>>> from memsync.document import apply_update, compile_update
>>> compile_update({"n": 1}, {"$inc": {"n": 1}})
[{'op': 'replace', 'path': '/n', 'value': 2}]
>>> apply_update({"tags": ["a"]}, {"$addToSet": {"tags": {"$each": ["a", "b"]}}})
{'tags': ['a', 'b']}
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .containers import Guard, ReadOnlyDict, ReadOnlyList, containers_in, make_live, to_plain
    from .encoding import encoded, encoded_json
    from .footprint.moved_elements import (
        MOVED,
        may_move,
        move_one,
        move_some,
        moved_elements,
        named_elements,
        places_filled,
        update_pointer,
        without_indexes,
    )
    from .footprint.read_write_set import (
        ReadWriteSet,
        compile_read_set,
        filter_read_set,
        read_write_set,
    )
    from .footprint.write_set import (
        CREATED,
        INSIDE,
        OTHER,
        PathWrite,
        is_guarded,
        refine_write_set,
        tags_of,
        write_set,
    )
    from .foreign_writes import check_first_untouched, foreign_places
    from .inherited import hook_reads, note_sizes, set_aside, take_back, unhook_reads
    from .live.changed_places import ChangedPlaces
    from .live.converge import converge
    from .live.copy_on_write import CopyOnWrite
    from .live.draft import Draft
    from .live.draft_results import without_drafts
    from .live.old_values import LIGHT, OldValues, Past, memory_of, within
    from .live.replace import replace_content
    from .live.replay import in_parts, replay
    from .live.run import tells_write_set
    from .live.sharing import Sharing
    from .observed.history import UNKNOWN, PlaceHistory, object_depths
    from .observed.place_index import WHOLE, PlaceIndex, place_of
    from .observed.reads import Reads
    from .observed.results import ResultCopy
    from .operations import Operation
    from .order import SCALAR_TYPES, identical
    from .patch.difference import difference
    from .patch.rfc6902 import (
        apply_patch,
        check_patch,
        compile_patch,
        exists_at_pointer,
        invert,
        value_at_pointer,
    )
    from .paths import above, element_index, is_digits, pointer_of
    from .query.query import check_filter, matches
    from .sizes import estimated_size
    from .sliced import SlicedText
    from .traversal import MISSING
    from .update.compile import apply_update, check_update, compile_update
    from .values import normalize

__all__ = [
    "CREATED",
    "INSIDE",
    "LIGHT",
    "MISSING",
    "MOVED",
    "OTHER",
    "SCALAR_TYPES",
    "UNKNOWN",
    "WHOLE",
    "ChangedPlaces",
    "CopyOnWrite",
    "Draft",
    "Guard",
    "OldValues",
    "Operation",
    "Past",
    "PathWrite",
    "PlaceHistory",
    "PlaceIndex",
    "ReadOnlyDict",
    "ReadOnlyList",
    "ReadWriteSet",
    "Reads",
    "ResultCopy",
    "Sharing",
    "SlicedText",
    "above",
    "apply_patch",
    "apply_update",
    "check_filter",
    "check_first_untouched",
    "check_patch",
    "check_update",
    "compile_patch",
    "compile_read_set",
    "compile_update",
    "containers_in",
    "converge",
    "difference",
    "element_index",
    "encoded",
    "encoded_json",
    "estimated_size",
    "exists_at_pointer",
    "filter_read_set",
    "foreign_places",
    "hook_reads",
    "identical",
    "in_parts",
    "invert",
    "is_digits",
    "is_guarded",
    "make_live",
    "matches",
    "may_move",
    "memory_of",
    "move_one",
    "move_some",
    "moved_elements",
    "named_elements",
    "normalize",
    "note_sizes",
    "object_depths",
    "place_of",
    "places_filled",
    "pointer_of",
    "read_write_set",
    "refine_write_set",
    "replace_content",
    "replay",
    "set_aside",
    "tags_of",
    "take_back",
    "tells_write_set",
    "to_plain",
    "unhook_reads",
    "update_pointer",
    "value_at_pointer",
    "within",
    "without_drafts",
    "without_indexes",
    "write_set",
]

_NAMES = {
    "containers": (
        "Guard",
        "ReadOnlyDict",
        "ReadOnlyList",
        "containers_in",
        "make_live",
        "to_plain",
    ),
    "encoding": ("encoded", "encoded_json"),
    "footprint.moved_elements": (
        "MOVED",
        "may_move",
        "move_one",
        "move_some",
        "moved_elements",
        "named_elements",
        "places_filled",
        "update_pointer",
        "without_indexes",
    ),
    "footprint.read_write_set": (
        "ReadWriteSet",
        "compile_read_set",
        "filter_read_set",
        "read_write_set",
    ),
    "footprint.write_set": (
        "CREATED",
        "INSIDE",
        "OTHER",
        "PathWrite",
        "is_guarded",
        "refine_write_set",
        "tags_of",
        "write_set",
    ),
    "foreign_writes": ("check_first_untouched", "foreign_places"),
    "inherited": ("hook_reads", "note_sizes", "set_aside", "take_back", "unhook_reads"),
    "live.changed_places": ("ChangedPlaces",),
    "live.converge": ("converge",),
    "live.copy_on_write": ("CopyOnWrite",),
    "live.draft": ("Draft",),
    "live.draft_results": ("without_drafts",),
    "live.old_values": ("LIGHT", "OldValues", "Past", "memory_of", "within"),
    "live.replace": ("replace_content",),
    "live.replay": ("in_parts", "replay"),
    "live.run": ("tells_write_set",),
    "live.sharing": ("Sharing",),
    "observed.history": ("UNKNOWN", "PlaceHistory", "object_depths"),
    "observed.place_index": ("WHOLE", "PlaceIndex", "place_of"),
    "observed.reads": ("Reads",),
    "observed.results": ("ResultCopy",),
    "operations": ("Operation",),
    "order": ("SCALAR_TYPES", "identical"),
    "patch.difference": ("difference",),
    "patch.rfc6902": (
        "apply_patch",
        "check_patch",
        "compile_patch",
        "exists_at_pointer",
        "invert",
        "value_at_pointer",
    ),
    "paths": ("above", "element_index", "is_digits", "pointer_of"),
    "query.query": ("check_filter", "matches"),
    "sizes": ("estimated_size",),
    "sliced": ("SlicedText",),
    "traversal": ("MISSING",),
    "update.compile": ("apply_update", "check_update", "compile_update"),
    "values": ("normalize",),
}

if not TYPE_CHECKING:  # a type checker that sees __getattr__ accepts every name
    __getattr__, __dir__ = lazy_names(
        __name__, {name: module for module, names in _NAMES.items() for name in names}
    )
