"""What callbacks get: values of their own, which they may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..document import to_plain


def own(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments for one receiver, who may change them: with copies of the containers."""
    for each in arguments:
        if isinstance(each, dict | list):
            return tuple(map(to_plain, arguments))
    return arguments


class Detached:
    """A callback that gets copies of its own; if `spreads`, of the items of its one argument."""

    __slots__ = ("_callback", "_spreads")

    def __init__(self, callback: Callable[..., object], *, spreads: bool = False) -> None:
        self._callback = callback
        self._spreads = spreads

    def __call__(self, *arguments: Any) -> object:
        return self._callback(*own(arguments[0] if self._spreads else arguments))

    def __repr__(self) -> str:
        return repr(self._callback)
