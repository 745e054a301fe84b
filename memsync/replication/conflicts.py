"""The conflict index: accepted writes that a proposal would overwrite without having seen them.

The rule: a proposal of peer P, made on the version `base` at the time T, conflicts with an entry if
the entry is later than `base`, is not P's, overlaps it (one path equals, contains or is contained
in the other), does not commute with it, and is newer than T (in strict mode: at any time). The
number of such entries is unbounded, so the index keeps, for each path and kind of write, only the
*marks* ``(version, timestamp, peer, tag)`` that can still affect a decision.

A query asks for a mark with version > base, timestamp > T, a peer other than P, and (among ``$set``
on one path) a tag other than X. A mark `d` that is at least as late and as new as `r` replaces `r`
in every query that `d` itself can satisfy. So `r` can be dropped exactly if such a `d` remains for
every P other than the peer of `r` and every X other than its tag. If `d` is dropped later, its own
replacement covers `r` as well, so the index decides exactly as the full history would. One writer
leaves one or two marks.

Paths and marks are bounded. The least recently written path is dropped, and so is the oldest mark
of a path with too many marks, which disagreeing clocks can cause. A dropped mark raises the *floor*
of its kind: the latest version and the newest time ever dropped. A proposal older than both may
overlap a dropped mark, and is refused unless its kind commutes with the dropped one.

A path whose only mark is a ``$set`` of a *wide* entry, or came with a snapshot, is kept as this
mark, outside of the trie, until another write or a query needs it there. Most of these paths are
dropped before that.

Notes that elements of an array have moved (`MOVED`) are marks as well. Their "timestamp" is the
negative of the lowest index that moved, and 1 for a whole container, so a mark replaces another one
as above. Only `find_moved` asks for them.

The index is part of the replicated state and of snapshots, so a new host decides as the old one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat, starmap
from operator import itemgetter
from typing import Annotated, Any, NamedTuple

import msgspec

from ..document import MOVED, PathWrite, above, is_digits
from ..errors import ProtocolError
from .commuting import ANYWHERE, REPLACING, Verdict, Where, plain_kind
from .commuting import verdict as verdict_on
from .marks import MAX_MARKS, Mark, Node, add_mark, has_moved

_Some = msgspec.Meta(min_length=1)
_Kind = tuple[str, Annotated[list[Mark], _Some]]
_Path = tuple[str, Annotated[list[_Kind], _Some]]  # pointer, the marks of each kind
_Floors = dict[str, tuple[int, int]]  # by kind: the latest version, the greatest timestamp
_decoder = msgspec.msgpack.Decoder(tuple[int, _Floors, list[_Path]])  # newest version first

# Whether the host's document has an array element at a pointer.
Exists = Callable[[str], bool]


WIDE = 32
"""An entry that writes more paths than these is noted by loops in C, if it can be."""
_WHOLE = 1  # the "timestamp" of a note on a whole container


class _Query(NamedTuple):
    """The query for the marks that conflict with a proposal."""

    base: int
    timestamp: int
    peer: str
    strict: bool
    exists: Exists

    def conflicts(self, node: Node, name: PathWrite, where: Where, element: str | None) -> bool:
        """Whether a mark of the node conflicts.

        `element` is the element through which the lower path leads, if the upper path is an array.
        """
        for kind, marks in node.kinds.items():
            if marks[-1][0] <= self.base:
                continue
            verdict = verdict_on(kind, name.kind, where)
            if verdict is Verdict.ALWAYS:
                continue
            # A recorded write below without `CREATED` was inside an existing element.
            if (
                verdict is Verdict.ELEMENT
                and element is not None
                and (where is Where.BELOW or self.exists(element))
            ):
                continue
            if self._any(marks, verdict is Verdict.EQUAL, name.tag):
                return True
        return False

    def _any(self, marks: list[Mark], by_tag: bool, equal: bytes | None) -> bool:
        base, timestamp, peer, strict, _ = self
        for version, time, author, tag in reversed(marks):
            if version <= base:
                return False
            if author != peer and (strict or time > timestamp) and not (by_tag and tag == equal):
                return True
        return False


class ConflictIndex:
    """The marks of at most `limit` paths.

    >>> index = ConflictIndex(100)
    >>> index.note(1, 500, "A", [PathWrite("/a", "$inc")])
    >>> asked = {"strict": False, "exists": lambda pointer: True}
    >>> index.find(0, 400, "B", [PathWrite("/a/b", "$unset")], **asked)
    '/a/b'
    >>> index.find(0, 400, "B", [PathWrite("/a", "$inc")], **asked)  # commutes
    >>> index.find(0, 600, "B", [PathWrite("/a", "$unset")], **asked)  # is newer
    >>> index.find(1, 400, "B", [PathWrite("/a", "$unset")], **asked)  # has seen it
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.newest = -1  # the latest version noted
        self.floors: _Floors = {}  # of what fell out
        self._root = Node(None, "")
        # Least recently noted first; a `Mark` stands for a path that is not in the trie.
        self._nodes: OrderedDict[str, Node | Mark] = OrderedDict()
        self._placed_after = -1  # no path with a later write is outside of the trie

    def note(
        self, version: int, timestamp: int, peer: str, written: Sequence[tuple[str, str, Any]]
    ) -> None:
        """Add the writes of an accepted entry; versions only grow."""
        if len(written) > WIDE and set(map(_KIND, written)) == _SET:
            pointers, tags = list(map(_POINTER, written)), list(map(_TAG, written))
            if self._note_fresh(version, timestamp, peer, pointers, tags):
                return
        self._note_each(version, timestamp, peer, written)

    def _note_each(
        self, version: int, timestamp: int, peer: str, written: Iterable[tuple[str, str, Any]]
    ) -> None:
        nodes = self._nodes
        for pointer, kind, tag in written:
            if kind == MOVED:
                mark = version, -int(tag) if tag else _WHOLE, peer, None
            else:
                mark = version, timestamp, peer, tag
            node = nodes.get(pointer)
            if node is None:
                node = nodes[pointer] = self._grow(pointer)
                node.kinds[kind] = [mark]
                if len(nodes) > self.limit:
                    self._drop()
            else:
                nodes.move_to_end(pointer)
                if isinstance(node, tuple):
                    node = self._place(pointer, node)
                marks = node.kinds.get(kind)
                if marks is None:
                    node.kinds[kind] = [mark]
                else:
                    add_mark(marks, mark)
                    if len(marks) > MAX_MARKS:
                        self._raise_floor(kind, *marks.pop(0)[:2])
            node.reach(version)
        self.newest = version

    def note_sets(
        self, version: int, timestamp: int, peer: str, pointers: list[str], tags: list[bytes]
    ) -> None:
        """Add a ``$set`` of each path, with its tag."""
        if not self._note_fresh(version, timestamp, peer, pointers, tags):
            written = zip(pointers, repeat("$set"), tags, strict=False)
            self._note_each(version, timestamp, peer, written)

    def _note_fresh(
        self, version: int, timestamp: int, peer: str, pointers: list[str], tags: list[Any]
    ) -> bool:
        """The same, if all paths are new; False if not."""
        marks = zip(repeat(version), repeat(timestamp), repeat(peer), tags, strict=False)
        fresh = dict(zip(pointers, marks, strict=True))
        nodes = self._nodes
        is_fresh = len(fresh) == len(pointers) <= self.limit and nodes.keys().isdisjoint(fresh)
        if is_fresh:
            self._drop_many(len(nodes) + len(fresh) - self.limit)
            nodes.update(fresh)
            self._placed_after = self.newest = version
        return is_fresh

    def _place_all(self, base: int) -> None:
        """Put the paths that were written after `base` into the trie."""
        if base >= self._placed_after:
            return
        waiting: list[tuple[str, Mark]] = []
        for pointer, noted in reversed(self._nodes.items()):
            if isinstance(noted, tuple):
                if noted[0] <= base:
                    break
                waiting.append((pointer, noted))
            elif noted.newest <= base:
                break
        for pointer, mark in waiting:
            self._place(pointer, mark)
        self._placed_after = base

    def _place(self, pointer: str, mark: Mark) -> Node:
        """Put a path that is known by its mark alone into the trie."""
        node = self._grow(pointer)
        node.kinds["$set"] = [mark]
        node.reach(mark[0])
        self._nodes[pointer] = node  # last, so that an interrupted query loses no mark
        return node

    def find(
        self,
        base: int,
        timestamp: int,
        peer: str,
        written: list[PathWrite],
        *,
        strict: bool,
        exists: Exists,
    ) -> str | None:
        """The proposal's first path that conflicts with an entry it had not seen, else None.

        `base` is the version on which the proposal was made, `strict` ignores timestamps, and
        `exists` finds array elements in the host's document. The path of the whole document is "".
        """
        if base >= self.newest or not written:
            return None
        for name in written if self.floors else ():
            if self._is_below_floor(base, timestamp, name.kind, strict):
                return name.pointer
        self._place_all(base)
        query = _Query(base, timestamp, peer, strict, exists)
        for name in written:
            if self._conflicts(query, name):
                return name.pointer
        return None

    def find_moved(self, base: int, peer: str, reaches: dict[str, int]) -> bool:
        """Whether an element that a peer names by its index may be another one since `base`.

        `reaches` has the arrays on the way of one pointer, from the outside in, each with the
        index that is used in it.

        >>> index = ConflictIndex(100)
        >>> index.note(1, 500, "A", [PathWrite("/a", "moved", b"3")])
        >>> index.find_moved(0, "B", {"/a": 2}), index.find_moved(0, "B", {"/a": 3})
        (False, True)
        """
        if base >= self.newest:
            return False
        for kind, (version, _) in self.floors.items():
            if base < version and (kind == MOVED or kind in REPLACING):
                return True
        self._place_all(base)
        array = next(reversed(reaches))
        for pointer in (array, *above(array)):
            node = self._nodes.get(pointer)
            if node is None or isinstance(node, tuple) or node.newest <= base:
                continue
            if has_moved(node, base, peer, -reaches.get(pointer, -_WHOLE)):
                return True
        return False

    def encode(self) -> list[Any]:
        """The index as plain lists, with the paths in the order in which they are dropped.

        >>> index = ConflictIndex(100)
        >>> index.note(1, 500, "A", [PathWrite("/a", "$inc")])
        >>> index.encode()
        [1, {}, [['/a', [['$inc', [[1, 500, 'A', None]]]]]]]
        """
        paths = [
            [pointer, [[kind, [*map(list, marks)]] for kind, marks in _kinds(noted).items()]]
            for pointer, noted in self._nodes.items()
        ]
        return [self.newest, {kind: list(floor) for kind, floor in self.floors.items()}, paths]

    @classmethod
    def decode(cls, limit: int, data: bytes | msgspec.Raw) -> ConflictIndex:
        """Undo `encode` from MessagePack; raises `ProtocolError` for other data.

        >>> encoded = msgspec.msgpack.encode([7, {"$inc": [2, 500]}, []])
        >>> ConflictIndex.decode(100, encoded).floors
        {'$inc': (2, 500)}
        """
        try:
            newest, floors, paths = _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError(f"the received data is no conflict index: {error}") from error
        index = cls(limit)
        index.newest, index.floors = newest, floors
        index._placed_after = newest
        for pointer, kinds in paths:
            kind, marks = kinds[0]
            if kind == "$set" and len(kinds) == len(marks) == 1:
                index._nodes[pointer] = marks[0]
                continue
            node = index._nodes[pointer] = index._grow(pointer)
            node.kinds = dict(kinds)
            node.reach(max([marks[-1][0] for marks in node.kinds.values()]))
        return index

    def _conflicts(self, query: _Query, name: PathWrite) -> bool:
        """Search above the proposal's path, then at it, then below it."""
        node, above = self._root, ""
        base = query.base
        for token in name.pointer.split("/")[1:]:
            if node.newest <= base:
                return False
            path = f"{above}/{token}"
            if node.kinds:
                element = path if is_digits(token) else None
                if query.conflicts(node, name, Where.ABOVE, element):
                    return True
            child = node.children.get(token)
            if child is None:
                return False
            node, above = child, path
        if query.conflicts(node, name, Where.SAME, None):
            return True
        for token, child in node.children.items():
            if child.newest <= base:
                continue
            element = f"{above}/{token}" if is_digits(token) else None
            for lower in child.below(base):
                if query.conflicts(lower, name, Where.BELOW, element):
                    return True
        return False

    def _grow(self, pointer: str) -> Node:
        node = self._root
        for token in pointer.split("/")[1:]:
            children = node.children
            child = children.get(token)
            if child is None:
                if not children:
                    children = node.children = {}
                child = children[token] = Node(node, token)
            node = child
        return node

    def _drop(self) -> None:
        """Drop the least recently written path, and raise the floors."""
        dropped = self._nodes.popitem(last=False)[1]
        if isinstance(dropped, tuple):
            self._raise_floor("$set", dropped[0], dropped[1])
        else:
            self._cut_off(dropped)

    def _drop_many(self, count: int) -> None:
        """Do the same several times, by loops in C."""
        dropped = list(map(_NOTED, starmap(self._nodes.popitem, repeat(_FIRST, max(count, 0)))))
        marks = [noted for noted in dropped if isinstance(noted, tuple)]
        if marks:  # the last one is of the latest version
            self._raise_floor("$set", marks[-1][0], max(map(_TIMESTAMP, marks)))
        if len(marks) < len(dropped):
            for noted in dropped:
                if not isinstance(noted, tuple):
                    self._cut_off(noted)

    def _cut_off(self, dropped: Node) -> None:
        """Take a path out of the trie."""
        for kind, marks in dropped.kinds.items():
            for mark in marks:
                self._raise_floor(kind, mark[0], mark[1])
        dropped.kinds = {}
        node = dropped
        while not node.kinds and not node.children and (parent := node.parent) is not None:
            del parent.children[node.token]
            node = parent

    def _raise_floor(self, kind: str, version: int, timestamp: int) -> None:
        kind = plain_kind(kind)
        latest, newest = self.floors.get(kind, (-1, -1))
        self.floors[kind] = max(latest, version), max(newest, timestamp)

    def _is_below_floor(self, base: int, timestamp: int, kind: str, strict: bool) -> bool:
        """Whether a write may conflict with a dropped one."""
        plain = plain_kind(kind)
        return any(
            base < version
            and (strict or timestamp < time)
            and (plain != forgotten or not plain.startswith(ANYWHERE))
            and forgotten != MOVED
            for forgotten, (version, time) in self.floors.items()
        )


_POINTER, _KIND, _TAG = map(itemgetter, range(3))  # of a `PathWrite`
_SET = {"$set"}
_NOTED = _TIMESTAMP = itemgetter(1)  # of an item of the index, of a mark
_FIRST = (False,)  # the argument of `OrderedDict.popitem`


def _kinds(noted: Node | Mark) -> dict[str, list[Mark]]:
    return {"$set": [noted]} if isinstance(noted, tuple) else noted.kinds
