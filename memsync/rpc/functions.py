"""The methods of a peer: nested tables, flattened to dotted names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, NoReturn, TypeVar

from ..errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

NAME_MAX = 300  # characters of a dotted name
LISTED_MAX = 20  # names that an error lists
RESERVED = "memsync."
RUN = "memsync.run"
"""The method that calls the function which it gets as its first argument."""

_MARK = "__memsync_idempotent__"


class Method(NamedTuple):
    """A function that other peers may call."""

    name: str
    function: Callable[..., Any]
    is_async: bool  # a coroutine function, or one that makes an asynchronous generator
    is_idempotent: bool

    @property
    def flags(self) -> str:
        """What other peers know of it: "i" = may be run twice; may be empty."""
        return "i" if self.is_idempotent else ""


def idempotent(function: F) -> F:
    """Mark a method that may run twice: a call of it may be repeated on another peer.

    >>> @idempotent
    ... def square(n: int) -> int:
    ...     return n * n
    """
    marked = function.__func__ if isinstance(function, (staticmethod, classmethod)) else function
    if not callable(marked):
        raise UsageError(f"@memsync.idempotent marks a function, not {function!r:.60}")
    try:
        setattr(marked, _MARK, True)
    except (AttributeError, TypeError):
        raise UsageError(
            f"@memsync.idempotent cannot mark {function!r:.60}, which takes no attributes: wrap it "
            "in a function"
        ) from None
    return function


def is_idempotent(function: Callable[..., Any]) -> bool:
    """Whether a function, or the one that a partial wraps, has the mark."""
    return bool(getattr(function, _MARK, False) or getattr(_wrapped(function), _MARK, False))


def flatten(table: Mapping[str, Any] | None) -> dict[str, Method]:
    """The methods of a nested table by their dotted names; raises `UsageError`.

    >>> list(flatten({"math": {"add": lambda a, b: a + b}, "ping": bool}))
    ['math.add', 'ping']
    """
    methods: dict[str, Method] = {}
    if table is not None:
        _add(table, "", methods, ())
    return methods


def make_method(name: str, function: Callable[..., Any]) -> Method:
    """A method; raises `UsageError` for what cannot be one."""
    check_name(name)
    if name.startswith(RESERVED):
        _refuse(name, f"names that begin with {RESERVED!r} are memsync's own")
    return as_method(name, function)


def as_method(name: str, function: Callable[..., Any]) -> Method:
    """A method of a name that memsync has chosen."""
    if not callable(function):
        _refuse(name, f"it must be a function or a table of functions, not {function!r:.60}")
    inner = _wrapped(function)
    call = inner if inspect.isroutine(inner) else getattr(inner, "__call__", inner)  # noqa: B004
    is_async = inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)
    return Method(name, function, is_async and not inspect.isclass(inner), is_idempotent(function))


def check_name(name: Any) -> None:
    """Raise `UsageError` unless `name` may be the dotted name of a method."""
    if not isinstance(name, str):
        raise UsageError(f"the name of a method is a string, not {name!r:.60}")
    if not 0 < len(name) <= NAME_MAX:
        _refuse(name[:40], f"a name has 1 to {NAME_MAX} characters")
    if not all(name.split(".")) or not name.isprintable() or " " in name:
        _refuse(name, "a name is made of parts like 'math.add', without spaces")


def listed(names: Iterable[str]) -> str:
    """Names in a message: each once, and how many there are beside the first 20.

    >>> listed(["b", "a", "b"])
    'a, b'
    """
    found = sorted(set(names))
    more = f" and {len(found) - LISTED_MAX} more" if len(found) > LISTED_MAX else ""
    return f"{', '.join(found[:LISTED_MAX])}{more}"


def _add(table: Any, path: str, methods: dict[str, Method], parents: tuple[int, ...]) -> None:
    if not isinstance(table, Mapping):
        raise UsageError(f"rpc={table!r:.60}: the methods are a dict of functions by their names")
    if id(table) in parents:
        _refuse(path, "the table contains itself")
    for key, value in table.items():
        if not isinstance(key, str):
            _refuse(path, f"the name {key!r:.60} in its table is no string")
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            check_name(name)
            _add(value, name, methods, (*parents, id(table)))
            continue
        if name in methods:
            _refuse(name, "the table has it twice, once with a dotted name")
        methods[name] = make_method(name, value)


def _wrapped(function: Any) -> Any:
    """The function inside of partials."""
    while isinstance(function, partial):
        function = function.func
    return function


def _refuse(name: str, why: str) -> NoReturn:
    raise UsageError(f"the method {name!r}: {why}")
