"""A copy-on-write document: a base plus pending changes, to compile further updates against.

A writer sees the shared document plus its own pending changes. Compiling an update against them
must cost no more than against the document itself, so the copy consists of plain containers.
Creating the copy must cost nothing, so it shares all unchanged containers with the base.
"""

from __future__ import annotations

from typing import Any

from ..operations import Operation
from ..patch.overlay import child
from ..paths import Parts, split
from .replay import write


class CopyOnWrite:
    """A plain document that starts as `base`; a change copies the containers on its path.

    `root` is `base` itself until the first change. After that it is a plain dict that shares every
    unchanged container with `base`, and that `compile_update` reads like any other document.

    >>> base = {"a": {"n": 1}, "b": {}}
    >>> document = CopyOnWrite(base)
    >>> document.replay([{"op": "replace", "path": "/a/n", "value": 2}])
    >>> document.root, base, document.root["b"] is base["b"]
    ({'a': {'n': 2}, 'b': {}}, {'a': {'n': 1}, 'b': {}}, True)
    """

    __slots__ = ("_owned", "root")

    def __init__(self, base: dict[str, Any]) -> None:
        self.root = base
        # The containers that may change in place, by id. They stay alive here even after they have
        # left the document, because a reused id could name a container of the base.
        self._owned: dict[int, Any] = {}

    def replay(self, operations: list[Operation]) -> None:
        """Apply ``add``, ``remove`` and ``replace`` operations compiled against `root`, in turn.

        Their values are copied. Raises `UpdateError` at the first operation that cannot be applied;
        the ones before it stay applied.
        """
        for operation in operations:
            try:
                parents, last = split(operation["path"])
            except (KeyError, TypeError):
                parents, last = (), None  # `write` raises the error
            if last is None:
                fresh: dict[str, Any] = {}
                write(fresh, operation)
                self.root = self._own(fresh)
            else:
                write(self.root, operation, node=self._open(parents))

    def _open(self, tokens: Parts) -> Any:
        """Own the container at `tokens` and all containers on the path to it; returns it."""
        owned = self._owned
        node: Any = self.root
        if id(node) not in owned:
            node = self.root = self._own(dict(node))
        for token in tokens:
            inner = node.get(token) if type(node) is dict else child(node, token)
            if id(inner) not in owned:
                inner = self._replaced(node, token, inner)
            node = inner
        return node

    def _replaced(self, node: Any, token: str, inner: Any) -> Any:
        """Replace `inner` in `node` with an owned copy and return it; leave a scalar alone."""
        if isinstance(inner, (dict, list)):
            inner = self._own(dict(inner) if isinstance(inner, dict) else list(inner))
            node[token if type(node) is dict else int(token)] = inner
        return inner

    def _own(self, container: Any) -> Any:
        """Mark `container` as one that may change in place, and return it."""
        self._owned[id(container)] = container
        return container
