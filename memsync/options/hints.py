"""What a mistake in the options was probably meant to be; nothing where nothing is near."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from ..errors import OptionsError, UsageError
from .schema import ENV_PREFIX, OptionSpec, camel, dotted, groups, schema

P = ParamSpec("P")
T = TypeVar("T")

_NEAR = 0.7  # of difflib's ratio; "lock" and "token" have 0.44


def similar(word: str, known: Iterable[str]) -> str | None:
    """The one of the known words that is most similar to an unknown one; None if none is near."""
    import difflib  # here, because only messages need it

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=_NEAR)), None)


def unknown_key(key: str, group: str | None, source: str) -> OptionsError:
    """The error for a key that is no option of its group, or of the top level (None)."""
    unknown = dotted(group, key)
    stated = _spec_of(key) if "." in key else None
    if stated is not None:  # a path, which needs no guess
        nearest, advice = None, f": write it as {_nested(stated)}"
    else:
        known = _by_plain_name(group)
        found = similar(_plain(key.rpartition(".")[2]), known)
        nearest = known[found] if found is not None else None
        advice = f"; did you mean {nearest!r}{_place(nearest, group)}?" if nearest else ""
    if not advice:
        advice = f": {_choice(group)}"
    return OptionsError(
        f"{source}: unknown option {unknown!r}{advice}", key=unknown, nearest=nearest, source=source
    )


def place_in_options(key: str) -> str | None:
    """Where a file has the option, or the group of options, with this key; None for other keys."""
    spec = _spec_of(key)
    if spec is not None:
        return f"options.{spec.key}"
    return f"options.{key}" if key in groups() else None


def warn_of_variables(unknown: Iterable[str], known: Iterable[str], stacklevel: int) -> None:
    """Warn about variables of the environment that look like options and are none."""
    by_name = {name.removeprefix(ENV_PREFIX).replace("_", ""): name for name in known}
    for spec in schema().values():
        by_name.setdefault(spec.name.replace("_", "").upper(), spec.env)
    texts = []
    for name in unknown:
        word = name.removeprefix(ENV_PREFIX).replace("_", "").upper()
        begun = [each for each in by_name if word.startswith(each)]  # MEMSYNC_DIRECTORY
        found = max(begun, key=len) if begun else similar(word, by_name)
        texts.append(f"{name} (did you mean {by_name[found]}?)" if found is not None else name)
    if texts:
        message = f"ignored, not an option of memsync: {', '.join(texts)}"
        warnings.warn(message, stacklevel=stacklevel + 1)


def warn_of_roles(roles: Iterable[str], stacklevel: int) -> None:
    """Warn about a role that is nearly ``writer``: without that role a peer only reads."""
    for role in roles:
        if role != "writer" and similar(role.lower(), ["writer"]):
            warnings.warn(
                f"peer.roles has {role!r}, with which a peer does not write; did you mean "
                "'writer'?",
                stacklevel=stacklevel + 1,
            )


def names_options(call: Callable[P, T]) -> Callable[P, T]:
    """Make a method with an argument ``options`` say so when it is given an option instead."""
    code = call.__code__  # `inspect` takes milliseconds to import
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]

    @functools.wraps(call)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for key in kwargs:
            if key not in names:
                raise _unknown_argument(key, names)
        return call(*args, **kwargs)

    return checked


def _unknown_argument(key: str, arguments: tuple[str, ...]) -> UsageError:
    what = f"there is no argument {key!r}"
    spec = _spec_of(key)
    if spec is not None:
        return UsageError(f"{what}, which is an option: write options={_nested(spec)}")
    if key in groups():
        return UsageError(
            f"{what}, which is a group of options: write options={{{key!r}: {{...}}}}"
        )
    nearest = similar(key, arguments)
    choice = f"did you mean {nearest!r}?" if nearest else f"give one of {', '.join(arguments)}"
    return UsageError(f"{what}: {choice}")


def _spec_of(key: str) -> OptionSpec | None:
    """The option with this path, or the only one with this name, in either spelling."""
    for path, spec in schema().items():
        if key in (path, spec.key):
            return spec
    named = [spec for spec in schema().values() if key in (spec.name, camel(spec.name))]
    return named[0] if len(named) == 1 and "." not in key else None


def _nested(spec: OptionSpec) -> str:
    key = f"{{{camel(spec.name)!r}: ...}}"
    return key if spec.group is None else f"{{{spec.group!r}: {key}}}"


def _place(nearest: str, group: str | None) -> str:
    """Where to write a key that belongs to another group."""
    spec = _spec_of(nearest)
    if spec is None or spec.group == group:
        return ""
    return f", written as {_nested(spec)}"


def _choice(group: str | None) -> str:
    names = [camel(spec.name) for spec in schema().values() if spec.group == group]
    if group is None:
        return f"the options are {', '.join(sorted([*names, *groups()]))}"
    return f"the options of {group!r} are {', '.join(names)}"


def _plain(key: str) -> str:
    return key.replace("_", "").lower()


def _by_plain_name(group: str | None) -> dict[str, str]:
    """The key of each option, by its name without case and underscores.

    Outside of a group (None), that of each group as well: no group lies in another.
    """
    known = {name: name for name in groups()} if group is None else {}
    return known | {_plain(spec.name): spec.key for spec in schema().values()}
