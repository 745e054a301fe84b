"""The JSON Schema of what each command prints with ``--json``.

Of a command that prints one value per line, the schema is that of a line.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_ANY: Schema = {}
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_STATUS = {"type": "integer", "minimum": 1, "maximum": 255}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _record(optional: tuple[str, ...] = (), /, **fields: Schema) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_SECONDS = {"type": "number", "minimum": 0}
_VERSION = _record(version=_COUNT)
_PEER = _record(id=_TEXT, pid=_or_null({"type": "integer"}))
_HOLDER = _record(
    id=_TEXT, pid=_or_null(_COUNT), since=_SECONDS, token=_COUNT, lease=_or_null(_SECONDS)
)
_LOCKS = {
    "type": "object",
    "additionalProperties": _record(places=_COUNT, holders=_list(_HOLDER), queue=_list(_PEER)),
}
_MEMBER = _record(id=_TEXT, pid=_COUNT, roles=_list(_TEXT), methods=_list(_TEXT))
_FINDING = _record(level={"enum": ["ok", "note", "wrong"]}, text=_TEXT, advice=_TEXT, about=_TEXT)

SCHEMAS: dict[str, Schema] = {
    "error": _record(error=_or_null(_TEXT), message=_TEXT, outcome=_or_null(_TEXT), status=_STATUS),
    "ls": _list(
        _record(
            name=_TEXT,
            host=_or_null(_PEER),
            peers=_COUNT,
            epoch=_or_null(_COUNT),
            version=_or_null(_COUNT),
            age=_or_null(_SECONDS),
        )
    ),
    "get": _record(version=_COUNT, value=_ANY),
    "patch": _record(("patch",), version=_COUNT, patch=_list({"type": "object"})),
    "watch": _record(("missed",), version=_COUNT, value=_ANY, missed=_COUNT),
    "wait": _record(value={"type": "object"}),
    "call": _ANY,
    "emit": _VERSION,
    "events": {
        "oneOf": [
            _record(event=_TEXT, args=_list(_ANY), version=_COUNT, peer=_TEXT),
            _record(missed=_or_null(_COUNT)),
        ]
    },
    "lock": {"not": {}},  # the program has the output
    "top": _record(
        name=_TEXT,
        host=_or_null(_TEXT),
        epoch=_COUNT,
        version=_COUNT,
        founded=_SECONDS,
        members=_list(_MEMBER),
        published=_list(_TEXT),
        locks=_LOCKS,
        recent=_list(_record(version=_COUNT, peer=_TEXT, text=_TEXT)),
        writes_per_second=_or_null(_SECONDS),
    ),
    "host": _record(name=_TEXT, status=_TEXT, pid=_COUNT, epoch=_COUNT, version=_COUNT),
    "replay": {
        "oneOf": [
            _record(epoch=_COUNT, version=_COUNT, timestamp=_COUNT, data={"type": "object"}),
            _record(**{"from": _COUNT, "to": _COUNT, "patch": _list({"type": "object"})}),
        ]
    },
    "log": _record(
        ("old", "new", "event", "path"),
        version=_COUNT,
        epoch=_COUNT,
        timestamp=_COUNT,
        peer=_TEXT,
        pid=_or_null(_COUNT),
        path=_TEXT,
        old=_ANY,
        new=_ANY,
        is_known={"type": "boolean"},
        event=_list(_ANY),
    ),
    "restore": _record(
        restored=_COUNT,
        version=_COUNT,
        epoch=_COUNT,
        kept_file=_or_null(_TEXT),
        kept_journal=_or_null(_TEXT),
    ),
    "doctor": _record(well={"type": "boolean"}, findings=_list(_FINDING), facts={"type": "object"}),
    "demo": _record(message=_TEXT),
    "schema": {"type": "object"},
    "completion": _record(script=_TEXT),
}
"""By the names of the commands; ``error`` is the line on the error output of all of them."""
