"""A document with changes that are not in it, to compile further updates against.

What a writer sees is the shared document and, on top, its own changes that are still under way.
Compiling against that must cost what it costs against the document itself, so a fork is made of
plain containers, and it must cost nothing to begin with, so it shares whatever is unchanged.
"""

from __future__ import annotations

from typing import Any

from ..operations import Operation
from ..patch.overlay import child
from ..paths import Parts, split
from .replay import write


class Fork:
    """A plain document that starts as `base` and changes alone: copy-on-write, path by path.

    `root` is `base` itself until the first change. Later it is a plain dict which shares with
    `base` every container that was not changed, and which `compile_update` reads as any other.

    >>> base = {"a": {"n": 1}, "b": {}}
    >>> fork = Fork(base)
    >>> fork.replay([{"op": "replace", "path": "/a/n", "value": 2}])
    >>> fork.root, base, fork.root["b"] is base["b"]
    ({'a': {'n': 2}, 'b': {}}, {'a': {'n': 1}, 'b': {}}, True)
    """

    __slots__ = ("_owned", "root")

    def __init__(self, base: dict[str, Any]) -> None:
        self.root = base
        # What may be changed in place, by id. The containers are kept alive here even when they
        # have left the document: an id that is used again would name a container of the base.
        self._owned: dict[int, Any] = {}

    def replay(self, operations: list[Operation]) -> None:
        """Apply ``add``, ``remove`` and ``replace`` operations compiled against `root`, in turn.

        Their values are copied. Raises `UpdateError` at the first one that cannot be applied; those
        before it then are.
        """
        for operation in operations:
            try:
                parents, last = split(operation["path"])
            except (KeyError, TypeError):
                parents, last = (), None  # what is wrong, `write` says
            if last is None:
                fresh: dict[str, Any] = {}
                write(fresh, operation)
                self.root = self._own(fresh)
            else:
                self._open(parents)
                write(self.root, operation)

    def _open(self, tokens: Parts) -> None:
        """Make all containers on the way to `tokens`, and what is there, the fork's own."""
        owned = self._owned
        node: Any = self.root
        if id(node) not in owned:
            node = self.root = self._own(dict(node))
        for token in tokens:
            inner = node.get(token) if type(node) is dict else child(node, token)
            if id(inner) not in owned:
                inner = self._replaced(node, token, inner)
            node = inner

    def _replaced(self, node: Any, token: str, inner: Any) -> Any:
        """A copy of `inner` put in its place in `node`; anything but a container stays."""
        if isinstance(inner, (dict, list)):
            inner = self._own(dict(inner) if isinstance(inner, dict) else list(inner))
            node[token if type(node) is dict else int(token)] = inner
        return inner

    def _own(self, container: Any) -> Any:
        """`container`, from now on one that may be changed."""
        self._owned[id(container)] = container
        return container
