"""The JSON Schema of configuration files, for editors; made of the schema of the options.

An editor with a YAML language server completes and checks keys with it. It accepts what
`read_config` and `load_options` accept, apart from what JSON Schema cannot say: that an option
stands there in both spellings, and that ``serverOnly`` and ``clientOnly`` exclude each other.
"""

from __future__ import annotations

import typing
from typing import Any, Literal

from .load import NAME_PATTERN
from .schema import Options, OptionSpec, alternatives, camel, groups, schema

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def json_schema() -> dict[str, Any]:
    """The schema of a configuration file with the keys ``name``, ``data`` and ``options``.

    >>> json_schema()["properties"]["options"]["properties"]["timeout"]["default"]
    30.0
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "memsync configuration file",
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "name": {
                "description": "Processes with the same name share one object.",
                "type": ["string", "null"],
                "pattern": f"^{NAME_PATTERN}$",
            },
            "data": {
                "description": "The first value, used only by the process that creates the object.",
                "type": ["object", "null"],
            },
            "options": {**_mapping(None), "description": "What differs from the defaults."},
        },
    }


def _mapping(group: str | None) -> dict[str, Any]:
    """The options of a group, or (None) those of the top level with the groups."""
    properties: dict[str, Any] = {}
    for spec in schema().values():
        if spec.group == group:
            for name in dict.fromkeys((camel(spec.name), spec.name)):  # both spellings
                properties[name] = _option(spec)
    for name in sorted(groups()) if group is None else ():
        text = (type(getattr(Options, name)).__doc__ or "").strip()
        properties[name] = {**_mapping(name), "description": text}
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _option(spec: OptionSpec) -> dict[str, Any]:
    kinds = [_kind(kind, spec) for kind in alternatives(spec.type)]
    unit = {None: "", "s": " (seconds)"}.get(spec.unit, f" ({spec.unit})")
    missing = "" if spec.available else " Not available in this version."
    default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
    return {
        **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds}),
        "description": f"{spec.doc[0].upper()}{spec.doc[1:]}{unit}.{missing}",
        "default": default,
    }


def _kind(kind: Any, spec: OptionSpec) -> dict[str, Any]:
    if kind is type(None):
        return {"type": "null"}
    if typing.get_origin(kind) is Literal:
        return {"enum": list(typing.get_args(kind))}
    if typing.get_origin(kind) is tuple:
        return {"type": "array", "items": {"type": "string"}}
    bounds = {"minimum": spec.low, "maximum": spec.high}
    return {"type": _TYPES[kind], **{key: each for key, each in bounds.items() if each is not None}}
