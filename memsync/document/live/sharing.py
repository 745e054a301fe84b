"""The confirmed document and the view, which share the containers in which they are equal.

A peer has its object twice: as the host has confirmed it, and as programs see it. Mostly the two
are equal, and then they are one: the confirmed document *is* the view. Before one of them changes
alone, the confirmed document is *opened* there: it gets plain copies of the live containers on the
path, and shares everything else. So a live container is never changed for the confirmed document
alone, and one that both hold is always equal in both. Opening replaces equal by equal, one
assignment at a time: an interrupt in the middle changes nothing.

A live container has the same place in both documents, except that an array may have moved its
elements in one of them. An element of an array is therefore found by its identity, and is opened as
a whole, with all that it contains.
"""

from __future__ import annotations

from typing import Any

from ..containers import (
    ReadOnlyDict,
    ReadOnlyList,
    containers_in,
    note_size,
    shallow_copy,
    to_live,
    to_plain,
)
from ..foreign_writes import check_all_untouched, check_untouched, salvage
from ..operations import Operation
from ..patch.overlay import child
from ..paths import split
from .copy_on_write import CopyOnWrite
from .old_values import OldValues
from .replace import replace_content
from .replay import check_fit, write
from .run import Run, descend, run_in

MAX_SHARED = 1 << 17
"""Containers with more items are not shared: copying one would delay a write by over 10 ms."""

_LIVE = frozenset({ReadOnlyDict, ReadOnlyList})
_CONTAINERS = frozenset({dict, list, *_LIVE})


class Sharing:
    """What the confirmed documents of one peer share with its `view`; the caller holds the guard.

    The methods take the confirmed document and return it: its root may be replaced.
    """

    __slots__ = ("_copied", "_may_rejoin", "_olds", "_repeated", "_shares", "view")

    def __init__(self, view: ReadOnlyDict, olds: OldValues | None = None) -> None:
        self.view = view
        self._olds = OldValues() if olds is None else olds  # of the last change of the confirmed
        self._shares = False
        self._may_rejoin = False  # no container is too large to be shared
        # Since the two were one: items copied, and changes that had to be made twice.
        self._copied = 0
        self._repeated = 0

    # -- changes of both, or of the confirmed document alone -------------------------------------

    def replay_both(
        self, confirmed: dict[str, Any], operations: list[Operation], *, fit: bool
    ) -> dict[str, Any]:
        """Apply operations to both documents, which are equal at the places that they concern."""
        olds = self._olds
        olds.must_copy = False
        if olds:
            olds.clear()  # a failed change has left it
        if len(operations) > 1:
            if (run := run_in(confirmed, operations)) is not None:
                olds.append_run(run, confirmed)
                return self._run_both(confirmed, run, operations)
            if not fit:
                check_fit(confirmed, operations)
        for operation in operations:
            if confirmed is not self.view:
                confirmed = self._write_both(confirmed, operation, olds)
            elif len(write(confirmed, operation, olds=olds)) > MAX_SHARED:
                confirmed = self._split(confirmed, operation)
        return confirmed

    def _run_both(
        self, confirmed: dict[str, Any], run: Run, operations: list[Operation]
    ) -> dict[str, Any]:
        if descend(confirmed, run.parents) is descend(self.view, run.parents):
            if len(run.write(self.view)) > MAX_SHARED:
                confirmed = self._split(confirmed, operations[0])
        elif run.is_scalar:
            confirmed = self._opened(confirmed, operations[0])
            run.write(confirmed)
            run.write(self.view)
            self._repeated += len(operations)
        else:
            for operation in operations:
                confirmed = self._write_both(confirmed, operation)
        return confirmed

    def _write_both(
        self, confirmed: dict[str, Any], operation: Operation, olds: OldValues | None = None
    ) -> dict[str, Any]:
        parents, last = split(operation["path"])
        if last is None:
            if olds is not None:
                olds.append_whole(confirmed)
            confirmed, olds = {}, None
        ours: Any = confirmed
        shown: Any = self.view
        is_within_array = False
        for token in parents:
            inner = child(ours, token)
            shown = child(shown, token)
            if inner is shown:
                if len(write(self.view, operation, olds=olds)) > MAX_SHARED:
                    confirmed = self._split(confirmed, operation)
                return confirmed
            is_within_array = is_within_array or type(ours) is list
            ours = self._opened_child(ours, token, inner)
        value = operation.get("value")
        self._repeated += 1
        if type(value) not in _CONTAINERS or is_within_array or last is None:
            write(confirmed, operation, olds=olds)
            write(self.view, operation)
        else:
            self._shares = True
            live = to_live(value, self.view._guard)
            write(confirmed, operation, live, olds=olds)
            write(self.view, operation, live)
        return confirmed

    def _split(self, confirmed: dict[str, Any], operation: Operation) -> dict[str, Any]:
        """Share a container no longer, because it has become too large."""
        self._may_rejoin = False
        return self._opened(confirmed, operation)

    def replay_confirmed(
        self, confirmed: dict[str, Any], operations: list[Operation], *, fit: bool
    ) -> dict[str, Any]:
        """Apply operations to the confirmed document only."""
        olds = self._olds
        olds.must_copy = True
        if olds:
            olds.clear()  # a failed change has left it
        if len(operations) > 1:
            if (run := run_in(confirmed, operations)) is not None:
                olds.append_run(run, confirmed)
                confirmed = self._opened(confirmed, operations[0])
                run.write(confirmed)
                self._repeated += len(operations)
                return confirmed
            if not fit:
                check_fit(confirmed, operations)
        for operation in operations:
            if not operation["path"]:
                olds.append_whole(confirmed)
                write(confirmed := {}, operation)
                continue
            confirmed = self._opened(confirmed, operation)
            write(confirmed, operation, olds=olds)
        self._repeated += len(operations)
        return confirmed

    def _opened(self, confirmed: dict[str, Any], operation: Operation) -> dict[str, Any]:
        """Open the container that an operation on the confirmed document changes."""
        parents, last = split(operation["path"])
        if last is None:
            return {}  # all of it is replaced
        confirmed = self._opened_root(confirmed)
        ours: Any = confirmed
        for token in parents:
            ours = self._opened_child(ours, token, child(ours, token))
        return confirmed

    # -- changes of the view alone ---------------------------------------------------------------

    def open_shown(self, confirmed: dict[str, Any], operation: Operation) -> dict[str, Any]:
        """Open the container that an operation on the view changes."""
        parents, last = split(operation["path"])
        if last is None:
            return self.detached(confirmed)
        confirmed = self._opened_root(confirmed)
        ours: Any = confirmed
        shown: Any = self.view
        for token in parents:
            shown = child(shown, token)
            if isinstance(ours, list):
                self._opened_child(ours, _position(ours, shown, token), shown)
                break  # nothing in an opened element is shared
            inner = child(ours, token)
            if inner is not shown and type(inner) in _LIVE:
                break  # it has left the view, and nothing in it is shared
            ours = self._opened_child(ours, token, inner)
        return confirmed

    def detached(self, confirmed: dict[str, Any]) -> dict[str, Any]:
        """A confirmed document that shares nothing."""
        if self._shares:
            confirmed = self._plain(confirmed)
            self._shares = False
        return confirmed

    def salvaged(self, confirmed: dict[str, Any]) -> dict[str, Any]:
        """What can be kept of a confirmed document that other code has changed."""
        self.replaced()
        return salvage(confirmed)

    def rebased(self, confirmed: dict[str, Any]) -> RebasedCopy:
        """A copy for the pending writes, to which the view then converges."""
        return RebasedCopy(self._opened_root(confirmed), self)

    # -- sharing ---------------------------------------------------------------------------------

    def replaced(self) -> None:
        """The confirmed document has become another one, which shares nothing."""
        self._shares = self._may_rejoin = False

    def rebuild_view(self, confirmed: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
        """Make the view equal to `target`, and share all if that is the confirmed document itself.

        The confirmed document shares nothing before.
        """
        view = self.view
        if target is confirmed and not view:
            inner = self._fill(confirmed)
        else:
            replace_content(view, target)
            inner = list(containers_in(view).values())
        self._copied = self._repeated = 0
        self._may_rejoin = not _is_large(view) and not any(map(_is_large, inner))
        if target is not confirmed:
            return confirmed
        self._shares = True
        if self._may_rejoin:
            return view
        _share_inside(confirmed, view)
        return confirmed

    def _fill(self, confirmed: dict[str, Any]) -> list[Any]:
        """Fill the empty view; returns the containers in it.

        A value is freed when its live copy is made, so the two need no memory at the same time.
        """
        large, inner = {}, []
        for name in list(containers_in(confirmed)):
            live = to_live(confirmed[name], self.view._guard)
            inner.append(live)
            if _is_large(live):
                large[name] = live
            else:
                confirmed[name] = live
        dict.update(self.view, {**confirmed, **large} if large else confirmed)
        note_size(self.view)
        return inner

    def rejoined(self, confirmed: dict[str, Any]) -> dict[str, Any]:
        """The confirmed document is equal to the view: make them one, if that pays by now.

        The copies have to be made again at the next write that the view shows alone. They have paid
        off after as many changes as they hold items.
        """
        if confirmed is self.view or not self._may_rejoin or self._repeated < self._copied:
            return confirmed
        self._copied = self._repeated = 0
        self._shares = True
        return self.view

    # -- copies ----------------------------------------------------------------------------------

    def _opened_root(self, confirmed: dict[str, Any]) -> dict[str, Any]:
        return self._shallow(confirmed) if type(confirmed) is ReadOnlyDict else confirmed

    def _opened_child(self, ours: Any, token: str | int, inner: Any) -> Any:
        """The plain container at a token of the plain container `ours`."""
        if type(inner) in _LIVE:
            if type(ours) is list:
                if token == -1:
                    return inner  # not in this array
                inner = ours[int(token)] = self._plain(inner)
            else:
                inner = ours[token] = self._shallow(inner)
        return inner

    def _shallow(self, container: Any) -> Any:
        check_untouched(container)  # the copy would not show it
        size = len(container)
        self._copied += size
        if size > MAX_SHARED:
            self._may_rejoin = False
        if isinstance(container, dict):
            return shallow_copy(container)
        return list.copy(container)

    def _plain(self, value: Any) -> Any:
        check_all_untouched(value)
        self._copied += len(value)
        return to_plain(value)


def _position(array: list[Any], element: Any, likely: str) -> int:
    """The index of an element, by identity; -1 if the array does not hold it."""
    if child(array, likely) is element:
        return int(likely)
    return next((index for index, each in enumerate(array) if each is element), -1)


def _share_inside(ours: Any, shown: Any) -> None:
    """Share what is inside of a container that is too large itself."""
    for key, value in dict.items(shown) if isinstance(shown, dict) else enumerate(list.copy(shown)):
        if _is_large(value):
            _share_inside(ours[key], value)
        elif type(value) in _LIVE:
            ours[key] = value


def _is_large(value: Any) -> bool:
    return type(value) in _LIVE and len(value) > MAX_SHARED


class RebasedCopy(CopyOnWrite):
    """A copy-on-write of the confirmed document to which the view is going to converge.

    Convergence changes live containers at all places that the operations name. The confirmed
    document must not hold them, so it is opened wherever the copy changes, and where a value is
    replaced or removed the confirmed one is detached as a whole.
    """

    __slots__ = ("_origins", "_sharing", "confirmed")

    def __init__(self, confirmed: dict[str, Any], sharing: Sharing) -> None:
        super().__init__(confirmed)
        self.confirmed = confirmed
        self._sharing = sharing
        self._origins: dict[int, Any] = {}  # by the id of a copy: the confirmed container

    def replay(self, operations: list[Operation]) -> None:
        """See `CopyOnWrite.replay`."""
        for operation in operations:
            parents, last = split(operation["path"])
            if last is None:
                self.confirmed = self._sharing.detached(self.confirmed)
                super().replay([operation])
                continue
            node = self._open(parents)
            if operation["op"] != "add" or isinstance(node, dict):
                value = child(node, last)
                if type(value) in _CONTAINERS:
                    self._detach(self._origins.get(id(node)), last, value)
            write(self.root, operation, node=node)

    def _open(self, tokens: tuple[str, ...]) -> Any:
        if self.root is self.confirmed:
            self.root = self._own(dict(self.confirmed))
            self._origins[id(self.root)] = self.confirmed
        return super()._open(tokens)

    def _replaced(self, node: Any, token: str, inner: Any) -> Any:
        origin = self._origins.get(id(node))
        if type(inner) in _LIVE and origin is not None:
            inner = self._sharing._opened_child(origin, _token_of(origin, token, inner), inner)
        copy = super()._replaced(node, token, inner)
        if copy is not inner and type(inner) not in _LIVE:
            self._origins[id(copy)] = inner
        return copy

    def _detach(self, origin: Any, token: str, value: Any) -> None:
        """Detach a value that the next operation replaces or removes."""
        if origin is None:
            return
        value = self._origins.get(id(value), value)
        at = _token_of(origin, token, value)
        if at == -1 or child(origin, str(at)) is not value:
            return  # a value of an earlier operation
        origin[at] = self._sharing._plain(value)


def _token_of(container: Any, token: str, value: Any) -> str | int:
    return _position(container, value, token) if type(container) is list else token
