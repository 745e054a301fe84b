"""An exception as its class, arguments and attributes, put together without running its code.

The pickle of an exception calls its ``__init__`` with ``args``, which fails for many classes, and a
single attribute that cannot be pickled spoils it. The *bare* form calls nothing of the class. What
cannot be pickled is left out and named; long arguments are cut.
"""

from __future__ import annotations

import pickle
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

from .pickles import cloudpickle, cut

VALUE_BYTES = 1 << 16  # of one argument or attribute
STRING_MAX = 1 << 14  # characters of an argument that is cut

_GROUP_SLOTS = ("message", "exceptions")  # `BaseExceptionGroup.__new__` sets them


class Bare(NamedTuple):
    """What is pickled; each value is a pickle by itself."""

    kind: type[BaseException]
    args: list[bytes]
    slots: dict[str, bytes]  # attributes that are not in ``__dict__``, such as ``OSError.errno``
    attributes: dict[str, bytes]
    left_out: list[str]


def raw(error: BaseException, name: str) -> Any:
    """An attribute of an exception, whatever its class does with attributes."""
    return object.__getattribute__(error, name)


def is_group(error: BaseException) -> bool:
    """Whether an exception is a group, whatever its class says of itself."""
    return issubclass(type(error), BaseExceptionGroup)


def bare(error: BaseException) -> Bare:
    """The bare form of an exception."""
    left_out = list[str]()
    # The members of a group travel as exceptions of their own.
    args = (raw(error, "message"),) if is_group(error) else raw(error, "args")
    slots, attributes = dict[str, bytes](), dict[str, bytes]()
    for place, values in ((slots, _slots(error)), (attributes, _attributes(error))):
        for name, value in values:
            data = _dump(value)
            if data is None and isinstance(value, (str, bytes)):
                data = pickle.dumps(_shortened(value))
            if data is None:
                left_out.append(name)
            else:
                place[name] = data
    return Bare(type(error), [_argument(value) for value in args], slots, attributes, left_out)


def assemble(form: Bare, members: list[BaseException] | None) -> BaseException:
    """The exception of a bare form; runs no code of its class."""
    args: tuple[Any, ...] = tuple(map(pickle.loads, form.args))
    error: BaseException
    if issubclass(form.kind, BaseExceptionGroup):
        error = BaseExceptionGroup.__new__(form.kind, str(args[0]), members or [])
        args = (args[0], members)
    else:
        error = _builtin(form.kind).__new__(form.kind)
    object.__setattr__(error, "args", args)  # the class may refuse attributes, or count them
    for name, data in form.slots.items():
        object.__setattr__(error, name, pickle.loads(data))
    for name, data in form.attributes.items():
        raw(error, "__dict__")[name] = pickle.loads(data)
    return error


def dump_by_value(value: Any) -> bytes:
    """The pickle of a value, with what cannot be imported."""
    data: bytes = cloudpickle().dumps(value)
    return data


def _builtin(kind: type[BaseException]) -> Any:
    """The class of Python from which a class descends; its ``__new__`` needs no arguments."""
    return next(base for base in kind.__mro__ if base.__module__ == "builtins")


def _argument(value: Any) -> bytes:
    data = _dump(value)
    if data is not None:
        return data
    if isinstance(value, (str, bytes)):
        return pickle.dumps(_shortened(value))
    try:
        return pickle.dumps(cut(repr(value), STRING_MAX))
    except BaseException as error:  # on a thread of memsync, where no signal arrives
        name = f"<a {type(value).__name__} whose repr raised {type(error).__name__}>"
        return pickle.dumps(name)


def _shortened(value: str | bytes) -> str | bytes:
    if isinstance(value, bytes):
        return value[:STRING_MAX]
    return cut(value[:], STRING_MAX)


def _dump(value: Any) -> bytes | None:
    """The pickle of a value if it is small and survives a round trip by itself."""
    for dumps in (pickle.dumps, dump_by_value):
        try:
            data = dumps(value)
            if len(data) > VALUE_BYTES:
                return None
            pickle.loads(data)
        except BaseException:  # on a thread of memsync, where no signal arrives
            continue
        return data
    return None


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
    for name, value in raw(error, "__dict__").items():
        if name != "__notes__":  # they travel as text
            yield name, value
