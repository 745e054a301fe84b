"""An exception as its class, arguments and attributes, put together without running its code.

The pickle of an exception calls its ``__init__`` with ``args``, which fails for many classes, and a
single attribute that cannot be pickled spoils it. The *bare* form calls nothing of the class. What
cannot be pickled is left out and named; long arguments are cut.
"""

from __future__ import annotations

import pickle
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .pickles import cut

VALUE_BYTES = 1 << 16  # of one argument or attribute
STRING_MAX = 1 << 14  # characters of an argument that is cut

_GROUP_SLOTS = ("message", "exceptions")  # `BaseExceptionGroup.__new__` sets them


class Bare(NamedTuple):
    """What is pickled."""

    kind: type[BaseException]
    args: tuple[Any, ...]
    slots: dict[str, Any]  # attributes that are not in ``__dict__``, such as ``OSError.errno``
    attributes: dict[str, Any]
    left_out: list[str]


def bare(error: BaseException, dumps: Callable[[Any], bytes]) -> Bare:
    """The bare form of an exception, of which `dumps` can pickle each value."""
    kind, left_out = type(error), list[str]()
    args = error.args
    if isinstance(error, BaseExceptionGroup):
        args = (error.message,)  # the members travel as exceptions of their own
    args = tuple(_argument(value, dumps) for value in args)
    slots, attributes = dict[str, Any](), dict[str, Any]()
    for place, values in ((slots, _slots(error)), (attributes, _attributes(error))):
        for name, value in values:
            if _fits(value, dumps):
                place[name] = value
            elif isinstance(value, (str, bytes)):
                place[name] = _shortened(value)
            else:
                left_out.append(name)
    return Bare(kind, args, slots, attributes, left_out)


def assemble(form: Bare, members: list[BaseException] | None) -> BaseException:
    """The exception of a bare form; runs no code of its class."""
    kind, args = form.kind, form.args
    error: BaseException
    if issubclass(kind, BaseExceptionGroup):
        error = BaseExceptionGroup.__new__(kind, str(args[0]), members or [])
        args = (args[0], members)
    else:
        error = _builtin(kind).__new__(kind)
    object.__setattr__(error, "args", args)  # the class may refuse attributes, or count them
    for name, value in form.slots.items():
        object.__setattr__(error, name, value)
    if form.attributes:
        object.__getattribute__(error, "__dict__").update(form.attributes)
    return error


def _builtin(kind: type[BaseException]) -> Any:
    """The class of Python from which a class descends; its ``__new__`` needs no arguments."""
    return next(base for base in kind.__mro__ if base.__module__ == "builtins")


def _argument(value: Any, dumps: Callable[[Any], bytes]) -> Any:
    if _fits(value, dumps):
        return value
    if isinstance(value, (str, bytes)):
        return _shortened(value)
    try:
        return cut(repr(value), STRING_MAX)
    except BaseException as error:  # on a thread of memsync, where no signal arrives
        return f"<a {type(value).__name__} whose repr raised {type(error).__name__}>"


def _shortened(value: str | bytes) -> str | bytes:
    if isinstance(value, bytes):
        return value[:STRING_MAX]
    return cut(value[:], STRING_MAX)


def _fits(value: Any, dumps: Callable[[Any], bytes]) -> bool:
    """Whether a value is small and survives a round trip by itself."""
    try:
        data = dumps(value)
        if len(data) > VALUE_BYTES:
            return False
        pickle.loads(data)
    except BaseException:  # on a thread of memsync, where no signal arrives
        return False
    return True


def _slots(error: BaseException) -> Iterator[tuple[str, Any]]:
    """The attributes that C code or ``__slots__`` keep."""
    for base in type(error).__mro__:
        if base is BaseException:
            return
        for name, descriptor in vars(base).items():
            if not isinstance(
                descriptor, (types.MemberDescriptorType, types.GetSetDescriptorType)
            ) or name.startswith("__"):
                continue
            if base.__module__ == "builtins" and name in _GROUP_SLOTS:
                continue
            try:
                value = descriptor.__get__(error, type(error))
            except AttributeError:  # it is not set
                continue
            if value is not None:
                yield name, value


def _attributes(error: BaseException) -> Iterator[tuple[str, Any]]:
    attributes: dict[str, Any] = object.__getattribute__(error, "__dict__")
    for name, value in attributes.items():
        if name != "__notes__":  # they travel as text
            yield name, value
