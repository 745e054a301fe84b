"""Configuration files: YAML with the keys ``name``, ``data`` and ``options``.

Every error names the file, and where possible the line or the path, so that a mistake can be found
from the message alone.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

from ..errors import OptionsError
from .hints import place_in_options, similar

KEYS = ("name", "data", "options")
DEPTH_MAX = 100


class Config(NamedTuple):
    """The content of a configuration file; None for missing keys."""

    name: str | None
    data: dict[str, Any] | None
    options: dict[str, Any] | None
    source: str


def read_config(path: str | os.PathLike[str]) -> Config:
    """Read a YAML file with the optional keys ``name``, ``data`` and ``options``.

    Raises `OptionsError` for a file that cannot be read, is no YAML mapping, has other keys, or
    holds data that JSON cannot hold.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "counter.yaml")
    >>> _ = path.write_text("name: counter\\ndata: {n: 0}\\n")
    >>> read_config(path).data
    {'n': 0}
    """
    if not isinstance(path, str | os.PathLike):
        raise OptionsError(f"the path of a configuration file must be a string, not {path!r:.60}")
    source = os.fspath(path)
    content = parse_yaml(_read(source), source)
    if content is None:
        content = {}
    if not isinstance(content, dict):
        message = f"{source}: expected a mapping with name, data and options"
        raise OptionsError(message, source=source)
    for key in content:
        if key not in KEYS:
            raise _unknown_key(key, source)
    name, data, options = (content.get(key) for key in KEYS)
    if name is not None and not isinstance(name, str):
        message = f"{source}: name must be a string, not {name!r}; put it in quotes"
        raise OptionsError(message, key="name", source=source)
    for key, value in (("data", data), ("options", options)):
        if value is not None and not isinstance(value, dict):
            message = f"{source}: {key} must be a mapping, not {value!r}"
            raise OptionsError(message, key=key, source=source)
    _check(data, "data", source, 0)
    return Config(name, data, options, source)


def _read(source: str) -> str:
    try:
        with open(source, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise OptionsError(f"{source}: cannot be read: {error.strerror}", source=source) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise OptionsError(f"{source}, line {line}: not UTF-8 text", source=source) from error


def parse_yaml(text: str, source: str) -> Any:
    """The plain value of a YAML text; raises `OptionsError` with source and line."""
    import yaml  # here, so that programs without such a file do not import it

    class Loader(yaml.SafeLoader):
        """Refuses duplicate keys, of which PyYAML silently takes the last."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if isinstance(key.value, str) and key.value != "<<" and key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"duplicate key {key.value!r}", key.start_mark
                    )
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = source if mark is None else f"{source}, line {mark.line + 1}"
        raise OptionsError(f"{where}: broken YAML: {error.problem}", source=source) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"{source}, line {line}: broken YAML: {error.reason}"
        raise OptionsError(message, source=source) from error
    # PyYAML passes on what Python raises for invalid values, such as the date 2024-13-45.
    except (ValueError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise OptionsError(f"{source}: broken YAML value: {error}", source=source) from error


def _unknown_key(key: Any, source: str) -> OptionsError:
    nearest = place_in_options(str(key)) or similar(str(key).lower(), KEYS)
    hint = f"; did you mean {nearest!r}? (" if nearest else " ("
    return OptionsError(
        f"{source}: unknown key {key!r}{hint}a file has name, data and options)",
        key=str(key),
        nearest=nearest,
        source=source,
    )


def _check(value: Any, path: str, source: str, depth: int) -> None:
    """Refuse what YAML can hold and JSON cannot: dates, sets, bytes, NaN, other keys."""
    if depth > DEPTH_MAX:
        message = f"{source}: {path[:80]}... is nested deeper than {DEPTH_MAX}"
        raise OptionsError(message, source=source, path=path)
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                message = f"{source}: {path} has the key {key!r}; put it in quotes"
                raise OptionsError(message, source=source, path=path)
            _check(item, f"{path}.{key}", source, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{path}.{index}", source, depth + 1)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        message = f"{source}: {path} = {value!r} does not fit into 64 bits; put it in quotes"
        raise OptionsError(message, source=source, path=path)
    elif not _is_json_scalar(value):
        raise OptionsError(
            f"{source}: {path} is {value!r} ({type(value).__name__}), which JSON cannot hold; "
            "put it in quotes to make it a string",
            source=source,
            path=path,
        )


def _is_json_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool | int)
