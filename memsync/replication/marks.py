"""The marks of the conflict index, and the trie of the paths that have them.

`conflicts` says what a mark is and why a later one can replace it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..document import MOVED
from .commuting import replaces

Mark = tuple[int, int, str, bytes | None]  # version, timestamp, peer, tag

MAX_MARKS = 64
"""The maximum number of marks of one path and kind."""


class Node:
    """A path in the trie. `newest` is at least the latest version noted at or below it."""

    __slots__ = ("children", "kinds", "newest", "parent", "token")

    def __init__(self, parent: Node | None, token: str) -> None:
        self.parent = parent
        self.token = token
        self.newest = -1
        self.kinds: dict[str, list[Mark]] = {}
        self.children = CHILDLESS

    def reach(self, version: int) -> None:
        """Note a version here and in the parents."""
        node: Node | None = self
        while node is not None and node.newest < version:
            node.newest = version
            node = node.parent

    def below(self, base: int) -> Iterator[Node]:
        """The nodes of this subtree, itself included, that may have marks after `base`."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.newest > base:
                yield node
                waiting.extend(node.children.values())


# Most paths have none; one empty dict for all of them saves time and memory.
CHILDLESS: dict[str, Node] = {}


def add_mark(marks: list[Mark], mark: Mark) -> None:
    """Append the latest mark, and drop the marks that it makes redundant."""
    _, timestamp, peer, tag = mark
    last = marks[-1]
    if last[1] <= timestamp and last[2] == peer and last[3] == tag:
        # It replaces the last one in every query.
        marks[-1] = mark
        if len(marks) == 1:
            return
        behind = 1
    else:
        marks.append(mark)
        behind = 2  # alone it does not replace the last one
    index = 0
    while index < len(marks) - behind:
        # The added mark changes nothing for marks that are newer.
        if marks[index][1] <= timestamp and _is_redundant(marks, index):
            del marks[index]
        else:
            index += 1


def _is_redundant(marks: list[Mark], index: int) -> bool:
    """Whether later marks replace the one at `index` in every query.

    The last mark must be as new as it. It is still needed if there are a peer and a tag, not its
    own, such that each later and newer mark is of that peer or has that tag. Either the peer is
    that of the last mark: then those of other peers must all have one tag. Or the tag is that of
    the last mark: then those with other tags must all be of one peer.
    """
    _, timestamp, peer, tag = marks[index]
    _, _, one_peer, one_tag = marks[-1]
    open_by_peer, open_by_tag = one_peer != peer, one_tag != tag
    sole_tag, sole_peer = tag, peer  # its own values mean "none so far"
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


def has_moved(node: Node, base: int, peer: str, least: int) -> bool:
    """Whether a later mark of another peer says so; `least` is the least "timestamp" that does."""
    for kind, marks in node.kinds.items():
        if marks[-1][0] <= base or not (kind == MOVED or replaces(kind)):
            continue
        for version, time, author, _ in marks:
            if version > base and author != peer and (kind != MOVED or time >= least):
                return True
    return False
