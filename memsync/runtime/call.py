"""What a program asks for with one write, beside the update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # it imports what a handle needs at its start only
    from .moved_watch import MovedWatch


class Call(NamedTuple):
    """The arguments of a write besides the update; `deadline` is in monotonic seconds."""

    where: Any = None
    array_filters: Any = None
    w: Any = 1
    journal: bool = False
    deadline: float = 0.0
    kind: str = "patch"
    watch: MovedWatch | None = None  # of the draft whose patch this is
    event: Any = None  # (name, *arguments), in one entry with the update
    lock: list[Any] | None = None  # [name, request, token] of a lock that this peer must hold
