"""Which accepted writes a proposal would run over without having seen them.

The rule: a proposal, made on the version `base` by peer P at the time T, conflicts with an entry
that is later than `base`, not of P, meets it (one path equals, contains or is contained in the
other), does not commute with it, and is newer than T (in strict mode: whatever its time). All such
entries count, not only the last one, and there is no end to entries, so the index keeps for each
path and kind of write only the *marks* ``(version, timestamp, peer, tag)`` that can still decide.

What can decide: a question asks whether a mark exists with version > base, timestamp > T, peer
not P, and (among ``$set``s of one path) tag not X. A mark `d` that is at least as late and as new
as `r` answers for `r` wherever it is itself admitted: it is not P's and not tagged X. So `r` may
go exactly when for every P other than its own peer and every X other than its own tag some such
`d` remains. A mark that answered for others and goes later is answered for in turn, so that is
never more than the full history would say and never less. One writer leaves one or two marks.

Both are bounded. The path that was not written for longest falls out, and so does the oldest mark
of a path with too many, which clocks that disagree can leave. What falls out raises the *floor* of
its kind: the latest version and the newest time that ever did. A proposal that is older than both
may have met what is forgotten, and is refused unless its kind commutes with that one.

The index is part of the replicated state: equal after equal entries, and a snapshot carries it, so
that a new host decides as the old one would.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec

from ..document import CREATED, INSIDE, OTHER, PathWrite, is_digits
from ..errors import ProtocolError

Mark = tuple[int, int, str, bytes | None]  # version, timestamp, peer, tag
_Some = msgspec.Meta(min_length=1)
_Kind = tuple[str, Annotated[list[Mark], _Some]]
_Path = tuple[str, Annotated[list[_Kind], _Some]]  # pointer, the marks of each kind
_Floors = dict[str, tuple[int, int]]  # by kind: the latest version, the greatest timestamp
_Encoded = tuple[int, _Floors, list[_Path]]  # newest version, floors, paths

# Whether there is an array element at a pointer in the host's document.
Exists = Callable[[str], bool]


# Kinds of which two commute or fail, wherever their paths lie. A $min above another need not.
_ANYWHERE = ("$inc", "$mul", "$bit", "$unset")

MAX_MARKS = 64
"""The most marks of one path and kind."""


class _Where(Enum):
    """Where a recorded path lies, seen from the proposal's."""

    ABOVE = 1
    SAME = 2
    BELOW = 3


class _Verdict(Enum):
    """When two kinds of writes that meet commute."""

    NEVER = 1
    ALWAYS = 2
    EQUAL = 3  # if their tags are equal
    ELEMENT = 4  # if the lower one lies inside an existing element of the pushed array


@lru_cache(maxsize=4096)
def _verdict(recorded: str, proposed: str, where: _Where) -> _Verdict:
    """Whether a recorded kind commutes with a proposed one."""
    if OTHER in (recorded, proposed):
        return _Verdict.NEVER
    kind = _plain(recorded)
    if kind == _plain(proposed) != OTHER:
        if kind == "$set":
            return _Verdict.EQUAL if where is _Where.SAME else _Verdict.NEVER
        upper = recorded if where is _Where.ABOVE else proposed
        # A value above another one holds it, which only removal does not mind. What is cut at a
        # positional part lies lower than it looks.
        if where is _Where.SAME or kind == "$unset" or upper.endswith(INSIDE):
            return _Verdict.ALWAYS
    return _verdict_on_push(recorded, proposed, where)


def _verdict_on_push(recorded: str, proposed: str, where: _Where) -> _Verdict:
    """A push commutes with what is written inside an existing element of its array."""
    pushed = {"$push", "$push" + CREATED}
    if where is _Where.SAME:
        inside = (recorded in pushed and proposed.endswith(INSIDE)) or (
            proposed in pushed and recorded.endswith(INSIDE)
        )
        return _Verdict.ALWAYS if inside else _Verdict.NEVER
    upper, lower = (recorded, proposed) if where is _Where.ABOVE else (proposed, recorded)
    inside = upper in pushed and not lower.endswith(CREATED)
    return _Verdict.ELEMENT if inside else _Verdict.NEVER


def _plain(kind: str) -> str:
    return kind.removesuffix(INSIDE).removesuffix(CREATED)


class _Node:
    """A path in the trie. `newest` is at least the latest version noted at or below it."""

    __slots__ = ("children", "kinds", "newest", "parent", "token")

    def __init__(self, parent: _Node | None, token: str) -> None:
        self.parent = parent
        self.token = token
        self.newest = -1
        self.kinds: dict[str, list[Mark]] = {}
        self.children: dict[str, _Node] = {}

    def reach(self, version: int) -> None:
        """Something of a version was noted here."""
        node: _Node | None = self
        while node is not None and node.newest < version:
            node.newest = version
            node = node.parent

    def below(self, base: int) -> Iterator[_Node]:
        """The nodes of this subtree, itself included, that may hold something after `base`."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.newest > base:
                yield node
                waiting.extend(node.children.values())


class _Question(NamedTuple):
    """What is asked of every mark that a proposal meets."""

    base: int
    timestamp: int
    peer: str
    strict: bool
    exists: Exists

    def conflicts(self, node: _Node, name: PathWrite, where: _Where, element: str | None) -> bool:
        """Whether a mark of a node's conflicts.

        `element` points to the array element the lower path leads through, were the upper an array.
        """
        for kind, marks in node.kinds.items():
            if marks[-1][0] <= self.base:
                continue
            verdict = _verdict(kind, name.kind, where)
            if verdict is _Verdict.ALWAYS:
                continue
            # A recorded write below did lie inside an existing element: it has no `CREATED`.
            if (
                verdict is _Verdict.ELEMENT
                and element is not None
                and (where is _Where.BELOW or self.exists(element))
            ):
                continue
            if self._any(marks, verdict is _Verdict.EQUAL, name.tag):
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
    """Who wrote where, as far as it can still decide about a proposal; for `limit` paths.

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
        self._root = _Node(None, "")
        self._nodes: OrderedDict[str, _Node] = OrderedDict()  # least recently noted first

    def note(
        self, version: int, timestamp: int, peer: str, written: Iterable[tuple[str, str, Any]]
    ) -> None:
        """Take in an accepted entry; versions only grow."""
        nodes = self._nodes
        for pointer, kind, tag in written:
            node = nodes.get(pointer)
            if node is None:
                node = nodes[pointer] = self._grow(pointer)
            else:
                nodes.move_to_end(pointer)
            marks = node.kinds.get(kind)
            if marks is None:
                node.kinds[kind] = [(version, timestamp, peer, tag)]
            else:
                _add(marks, (version, timestamp, peer, tag))
                if len(marks) > MAX_MARKS:
                    self._raise_floor(kind, marks.pop(0))
            node.reach(version)
            if len(nodes) > self.limit:
                self._drop()
        self.newest = version

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

        `base` is the version the proposal was made on, `strict` refuses whatever the timestamps
        say, `exists` tells whether the host's document has an array element at a pointer. The
        path of the whole document is "", which is not None.
        """
        if base >= self.newest or not written:
            return None
        for name in written if self.floors else ():
            if self._is_below_floor(base, timestamp, name.kind, strict):
                return name.pointer
        question = _Question(base, timestamp, peer, strict, exists)
        for name in written:
            if self._conflicts(question, name):
                return name.pointer
        return None

    def encode(self) -> list[Any]:
        """The index as plain lists, paths in the order in which they fall out.

        >>> index = ConflictIndex(100)
        >>> index.note(1, 500, "A", [PathWrite("/a", "$inc")])
        >>> index.encode()
        [1, {}, [['/a', [['$inc', [[1, 500, 'A', None]]]]]]]
        """
        paths = [
            [pointer, [[kind, [*map(list, marks)]] for kind, marks in node.kinds.items()]]
            for pointer, node in self._nodes.items()
        ]
        return [self.newest, {kind: list(floor) for kind, floor in self.floors.items()}, paths]

    @classmethod
    def decode(cls, limit: int, encoded: Any) -> ConflictIndex:
        """The index that was encoded; raises `ProtocolError` when it is none.

        >>> ConflictIndex.decode(100, [7, {"$inc": [2, 500]}, []]).floors
        {'$inc': (2, 500)}
        """
        try:
            newest, floors, paths = msgspec.convert(encoded, _Encoded)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"this is no conflict index: {error}") from error
        index = cls(limit)
        index.newest, index.floors = newest, floors
        for pointer, kinds in paths:
            node = index._nodes[pointer] = index._grow(pointer)
            node.kinds = dict(kinds)
            node.reach(max(marks[-1][0] for marks in node.kinds.values()))
        return index

    def _conflicts(self, question: _Question, name: PathWrite) -> bool:
        """Look above the proposal's path, then at it, then below."""
        node, above = self._root, ""
        base = question.base
        for token in name.pointer.split("/")[1:]:
            if node.newest <= base:
                return False
            path = f"{above}/{token}"
            if node.kinds:
                element = path if is_digits(token) else None
                if question.conflicts(node, name, _Where.ABOVE, element):
                    return True
            child = node.children.get(token)
            if child is None:
                return False
            node, above = child, path
        if question.conflicts(node, name, _Where.SAME, None):
            return True
        for token, child in node.children.items():
            element = f"{above}/{token}" if is_digits(token) else None
            for lower in child.below(base):
                if question.conflicts(lower, name, _Where.BELOW, element):
                    return True
        return False

    def _grow(self, pointer: str) -> _Node:
        node = self._root
        for token in pointer.split("/")[1:]:
            child = node.children.get(token)
            if child is None:
                child = node.children[token] = _Node(node, token)
            node = child
        return node

    def _drop(self) -> None:
        """Forget the least recently noted path, but for the floor."""
        _, dropped = self._nodes.popitem(last=False)
        for kind, marks in dropped.kinds.items():
            for mark in marks:
                self._raise_floor(kind, mark)
        dropped.kinds = {}
        node: _Node = dropped
        while node.parent is not None and not node.kinds and not node.children:
            del node.parent.children[node.token]
            node = node.parent

    def _raise_floor(self, kind: str, mark: Mark) -> None:
        kind = _plain(kind)
        version, timestamp = self.floors.get(kind, (-1, -1))
        self.floors[kind] = max(version, mark[0]), max(timestamp, mark[1])

    def _is_below_floor(self, base: int, timestamp: int, kind: str, strict: bool) -> bool:
        """Whether a write may conflict with one that is forgotten, and of which the path is."""
        plain = _plain(kind)
        return any(
            base < version
            and (strict or timestamp < time)
            and (plain != forgotten or not plain.startswith(_ANYWHERE))
            for forgotten, (version, time) in self.floors.items()
        )


def _add(marks: list[Mark], mark: Mark) -> None:
    """Append the latest mark, and take out what it makes superfluous."""
    _, timestamp, peer, tag = mark
    last = marks[-1]
    if last[1] <= timestamp and last[2] == peer and last[3] == tag:
        # It answers for the last one everywhere, and for what that one answered for.
        marks[-1] = mark
        behind = 1
    else:
        marks.append(mark)
        behind = 2  # alone it does not answer for the last one
    index = 0
    while index < len(marks) - behind:
        # Nothing has changed for a mark that is newer than the one added.
        if marks[index][1] <= timestamp and _is_answered_for(marks, index):
            del marks[index]
        else:
            index += 1


def _is_answered_for(marks: list[Mark], index: int) -> bool:
    """Whether later marks decide every question which the one at `index` could decide.

    The last mark must be as new as it. It is still needed if there are a peer and a tag, not its
    own, such that each later and newer mark is of that peer or has that tag. Either the peer is
    that of the last mark: then those of other peers must all have one tag. Or the tag is that of
    the last mark: then those with other tags must all be of one peer.
    """
    _, timestamp, peer, tag = marks[index]
    _, _, one_peer, one_tag = marks[-1]
    open_by_peer, open_by_tag = one_peer != peer, one_tag != tag
    sole_tag, sole_peer = tag, peer  # its own stand for none so far: they are never the answer
    for at in range(len(marks) - 2, index, -1):
        if not (open_by_peer or open_by_tag):
            return True
        _, time, author, value = marks[at]
        if time < timestamp:
            continue
        if open_by_peer and author != one_peer:
            open_by_peer = value != tag and sole_tag in (tag, value)
            sole_tag = value
        if open_by_tag and value != one_tag:
            open_by_tag = author != peer and sole_peer in (peer, author)
            sole_peer = author
    return not (open_by_peer or open_by_tag)
