"""Load the options from their four sources, and check arguments of calls.

Precedence, key by key: arguments, environment, YAML, defaults. `schema` defines the options.
"""

from __future__ import annotations

import os
import re
import typing
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ..errors import OptionsError, UsageError
from .hints import unknown_key, warn_of_roles, warn_of_variables
from .keep import parse_keep
from .schema import (
    ENV_PREFIX,
    Options,
    OptionSpec,
    alternatives,
    camel,
    checked,
    dotted,
    groups,
    schema,
)
from .yaml_file import parse_yaml

NAME_PATTERN = "[A-Za-z0-9._-]{1,300}"
NAME_RULE = "a name is 1 to 300 characters of A-Z a-z 0-9 . _ -"
# The rendezvous folder is no option of one object: all objects of the folder share it. The other
# two are what the programs find that `memsync lock` and `memsync watch --exec` run.
ENV_RESERVED = frozenset({"MEMSYNC_DIR", "MEMSYNC_LOCK_TOKEN", "MEMSYNC_VERSION"})
_HANDLE = 5  # calls from `load_options` to the line that creates the handle


def load_options(
    options: Mapping[str, Any] | None,
    *,
    yaml_options: Mapping[str, Any] | None = None,
    source: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Options:
    """The effective options from arguments, environment, YAML and defaults, in this precedence.

    Keys may be camelCase or snake_case. `source` is the file of `yaml_options`, for messages.
    Raises `OptionsError` for an unknown key, a wrong type, a value out of bounds, and a key in both
    spellings. Warns about a ``timeout`` that looks like milliseconds, and about unknown
    ``MEMSYNC_...`` variables and roles that are nearly ``writer``.

    >>> load_options({"timeout": 5}, yaml_options={"timeout": 9}, environ={}).timeout
    5.0
    """
    layers = {
        source or "YAML options": dict(_flatten(yaml_options, source or "YAML options")),
        "the environment": dict(_from_environment(environ)),
        "options": dict(_flatten(options, "options")),
    }
    values = {key: value for layer in layers.values() for key, value in layer.items()}
    timeout = values.get("timeout", 0)
    if timeout > 600 and timeout % 1000 == 0:
        message = f"timeout is in seconds: {timeout:g} looks like milliseconds"
        warnings.warn(message, stacklevel=_HANDLE)
    warn_of_roles(values.get("peer.roles", ()), _HANDLE)
    if values.get("server_only") and values.get("client_only"):
        server, client = (
            [name for name, layer in layers.items() if key in layer][-1]
            for key in ("server_only", "client_only")
        )
        raise OptionsError(
            f"serverOnly (in {server}) and clientOnly (in {client}) exclude each other: set only "
            "one of them",
            key="clientOnly",
            source=client,
        )
    return _build(values)


def stated(options: Options) -> dict[str, Any]:
    """The options that were set explicitly, as a plain dict for `load_options`.

    >>> stated(load_options({"peer": {"roles": []}}, environ={}))
    {'peer': {'roles': []}}
    """
    plain: dict[str, Any] = {}
    for path, value in options._stated.items():
        spec = schema()[path]
        target = plain if spec.group is None else plain.setdefault(spec.group, {})
        target[camel(spec.name)] = list(value) if isinstance(value, tuple) else value
    return plain


def unavailable(options: Options) -> list[str]:
    """The stated keys whose feature this version lacks, in the order of the schema.

    >>> unavailable(load_options({"server": {"port": 8883}}, environ={}))
    []
    """
    rows = schema().items()
    return [spec.key for path, spec in rows if path in options._stated and not spec.available]


def check_name(name: str) -> str:
    """The name itself, if it is valid: 1 to 300 characters of ``[A-Za-z0-9._-]``.

    Raises `UsageError` with the name and the first character that is not allowed.

    >>> check_name("my_object")
    'my_object'
    """
    if not isinstance(name, str):
        raise UsageError(f"name must be a string, not {type(name).__name__}: {NAME_RULE}")
    if not 1 <= len(name) <= 300:
        raise UsageError(f"name {name[:40]!r} has {len(name)} characters: {NAME_RULE}")
    wrong = re.search(r"[^A-Za-z0-9._-]", name)
    if wrong:
        raise UsageError(f"name {name!r} contains {wrong.group()!r}: {NAME_RULE}")
    return name


def check_name_in(source: str, name: str) -> None:
    """Raise `OptionsError` if the name that a file states is not valid."""
    try:
        check_name(name)
    except UsageError as error:
        raise OptionsError(f"{source}: {error}", key="name", source=source) from None


def check_path(path: Any) -> tuple[str, ...]:
    """The parts of a dotted path; raises `UsageError` for an invalid path.

    >>> check_path("a.b.0")
    ('a', 'b', '0')
    """
    if not isinstance(path, str):
        raise UsageError(f"a path is a string like 'a.b.0', not {path!r:.60}")
    parts = tuple(path.split("."))
    if "" in parts:
        raise UsageError(f"the path {path!r:.60} has an empty part: write it like 'a.b.0'")
    return parts


def check_timeout(timeout: Any, default: float) -> float:
    """A ``timeout`` argument in seconds; None means the default.

    Raises `UsageError` for anything but a number from 0 to 3600.

    >>> check_timeout(None, 30.0), check_timeout(2, 30.0)
    (30.0, 2.0)
    """
    if timeout is None:
        return default
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise UsageError(f"timeout must be a number of seconds, not {timeout!r:.60}")
    if not 0 <= timeout <= 3600:
        raise UsageError(f"timeout must be 0 to 3600 seconds, not {timeout!r}")
    return float(timeout)


def _flatten(options: Any, source: str, group: str | None = None) -> Iterator[tuple[str, Any]]:
    """The checked ``(path, value)`` pairs of a nested mapping."""
    if options is None:
        return
    if not isinstance(options, Mapping):
        where = group or "the options"
        message = f"{source}: {where} must be a mapping, not {options!r}"
        raise OptionsError(message, key=group or "options", source=source)
    seen: dict[str, str] = {}
    for key, value in options.items():
        path = _path(key, group, source)
        if path in seen:
            message = f"{source}: {seen[path]!r} and {key!r} are the same option"
            raise OptionsError(message, key=dotted(group, key), source=source)
        seen[path] = key
        if path in groups():
            yield from _flatten(value, source, path)
        else:
            if path == "file.path" and isinstance(value, os.PathLike):
                value = os.fspath(value)
            yield path, checked(schema()[path], value, source)


def _path(key: Any, group: str | None, source: str) -> str:
    """The attribute path of a key in either spelling."""
    if not isinstance(key, str):
        message = f"{source}: option names must be strings, not {key!r}"
        raise OptionsError(message, key=dotted(group, str(key)), source=source)
    if group is None and key in groups():
        return key
    for path, spec in schema().items():
        if spec.group == group and key in (spec.name, camel(spec.name)):
            return path
    raise unknown_key(key, group, source)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    by_env = {spec.env: (path, spec) for path, spec in schema().items()}
    # An empty variable counts as unset, because a shell cannot always unset an exported one.
    given = {key: text for key, text in environ.items() if key.startswith(ENV_PREFIX) and text}
    known = by_env.keys() | ENV_RESERVED
    warn_of_variables(sorted(given.keys() - known), known, _HANDLE + 1)
    values = {}
    for name in sorted(given.keys() & by_env.keys()):
        path, spec = by_env[name]
        values[path] = checked(spec, _parse_variable(spec, given[name]), name)
    return values


def _parse_variable(spec: OptionSpec, text: str) -> Any:
    # Only other types are parsed as YAML: a token of digits is still a string.
    if str in alternatives(spec.type) or typing.get_origin(spec.type) is Literal:
        return text
    return parse_yaml(text, spec.env)


def is_url(path: str) -> bool:
    """Whether a ``file.path`` is another place than a file of this machine.

    >>> is_url("s3://bucket/key"), is_url("/srv/state.json")
    (True, False)
    """
    return "://" in path


def _absolute(path: str) -> str:
    """A path that leads to the same file in every process; a URL as it is."""
    if not path:
        raise OptionsError("file.path is empty: expected a path or a URL", key="file.path")
    scheme, separator, rest = path.partition("://")
    if separator and scheme.lower() != "file":
        return path
    if separator:
        from urllib.parse import unquote

        host, slash, rest = rest.partition("/")
        if not slash or host not in ("", "localhost"):
            raise OptionsError(
                f"file.path {path!r:.200} names no file of this machine: write a path, or a URL "
                "with three slashes and the whole path, as in file:///var/lib/state.json",
                key="file.path",
            )
        path = f"/{unquote(rest)}"
    if "\0" in path:
        raise OptionsError(f"file.path {path!r:.200} has a null byte", key="file.path")
    if path.endswith("/"):
        raise OptionsError(f"file.path {path!r:.200} names a folder: add a name", key="file.path")
    return os.path.abspath(os.path.expanduser(path))


def _check_journal(values: dict[str, Any]) -> None:
    """Raise `OptionsError` for a journal that has no place, or no limits that can be read."""
    path = values.get("file.path")
    if values.get("file.journal") and (path is None or is_url(path)):
        raise OptionsError(
            "file.journal needs file.path to be a path of this machine, "
            + ("which is not stated" if path is None else f"not {path!r:.80}"),
            key="file.journal",
        )
    try:
        parse_keep(values.get("journal.keep", 0))
    except ValueError as error:
        raise OptionsError(
            f"journal.keep = {values['journal.keep']!r:.80}: {str(error)!r:.40} is no limit: write "
            "it like '1 GB', '30 days' or '1 GB, 30 days'",
            key="journal.keep",
        ) from None


def _build(values: dict[str, Any]) -> Options:
    if values.get("file.path") is not None:
        values["file.path"] = _absolute(values["file.path"])
    _check_journal(values)
    top: dict[str, Any] = {}
    grouped: dict[str, dict[str, Any]] = {group: {} for group in groups()}
    for path, value in values.items():
        spec = schema()[path]
        (top if spec.group is None else grouped[spec.group])[spec.name] = value
    for group, stated_there in grouped.items():
        top[group] = type(getattr(Options, group))(**stated_there)
    return Options(**top, _stated=values)
