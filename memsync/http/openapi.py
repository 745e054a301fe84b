"""``/openapi.json``: the routes as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..version import __version__
from .conditions import LONGEST_WAIT
from .updates import JSON_PATCH, MERGE_PATCH, OPERATORS

_TAG = {"type": "string", "description": "the entity tag of the part"}
_PAIR = {"type": "string", "pattern": "^[0-9]{1,18}-[0-9]{1,18}$"}
_VERSION = {"description": "epoch and version", "schema": _PAIR}
_TAGGED = {"ETag": {"schema": _TAG}, "Memsync-Version": _VERSION}
_APPLIED = {
    "description": "the wait that Prefer has asked for, within its bounds",
    "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
}
_POINTER = {"type": "string", "pattern": "^(/([^~/]|~[01])*)*$"}

_PARAMETERS: dict[str, Any] = {
    "name": {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "the name of an object",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,300}$"},
    },
    "field": {
        "name": "field",
        "in": "path",
        "required": True,
        "description": "fields and indexes from the object to a part, between slashes",
        "schema": {"type": "string", "minLength": 1},
    },
    "path": {
        "name": "path",
        "in": "query",
        "description": "an RFC 6901 pointer that is appended to the path",
        "schema": _POINTER,
    },
    "wait": {
        "name": "wait",
        "in": "query",
        "description": "seconds to wait for a change",
        "schema": {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
    },
    "at": {
        "name": "at",
        "in": "query",
        "description": "an older version",
        "schema": {"type": "integer", "minimum": 0, "maximum": 10**18},
    },
    "ping": {
        "name": "ping",
        "in": "query",
        "description": "add the round trips; the value does not matter",
        "allowEmptyValue": True,
        "schema": {"type": "string"},
    },
    "since": {
        "name": "since",
        "in": "query",
        "description": "the id of the last event that the client has",
        "schema": _PAIR,
    },
    "if-none-match": {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}},
    "if-match": {"name": "If-Match", "in": "header", "schema": {"type": "string"}},
    "prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "wait=SECONDS (RFC 7240): as the parameter wait, which goes first",
        "schema": {"type": "string"},
    },
    "last-event-id": {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},
    "idempotency-key": {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
}

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "outcome": {"enum": ["applied", "not_applied", "unknown"]},
    },
}
_WRITTEN = {
    "type": "object",
    "required": ["outcome", "version", "repeated"],
    "properties": {
        "outcome": {"const": "applied"},
        "version": {"type": "integer"},
        "repeated": {"type": "boolean"},
    },
}
_BODIES: dict[str, Any] = {
    OPERATORS: {"type": "object", "minProperties": 1},
    JSON_PATCH: {"type": "array", "items": {"type": "object"}},
    MERGE_PATCH: {},
}


def document(names: list[str], *, token: bool, write: bool) -> dict[str, Any]:
    """The document of a server with these objects and options."""
    parts: dict[str, Any] = {"get": _part()}
    if write:
        parts["patch"] = _patch()
    stream = {"get": _stream()}
    paths: dict[str, Any] = {
        "/": {"get": _index()},
        "/healthz": {"get": _open("Whether the process answers", {})},
        "/readyz": {"get": _open("Whether all objects have a host", {"503": _not_ready()})},
        "/metrics": {"get": _get("Figures for Prometheus", "text/plain", token=token)},
        "/openapi.json": {"get": _get("This document", token=token)},
        "/{name}": _with(parts, "name"),
        "/{name}/{field}": _with(parts, "name", "field"),
        "/{name}/status": _with({"get": _status()}, "name"),
        "/{name}/changes": _with(stream, "name"),
        "/{name}/{field}/changes": _with(stream, "name", "field"),
    }
    security = [{"token": list[str]()}] if token else []
    return {
        "openapi": "3.1.0",
        "info": {"title": "memsync", "version": __version__},
        "paths": paths,
        "security": security,
        "components": {
            "schemas": {"Problem": _PROBLEM, "Written": _WRITTEN},
            "parameters": {**_PARAMETERS, "name": _name(names)},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}} if token else {},
        },
    }


def _name(names: list[str]) -> dict[str, Any]:
    schema = {**_PARAMETERS["name"]["schema"], **({"enum": names} if names else {})}
    return {**_PARAMETERS["name"], "schema": schema}


def _with(operations: Mapping[str, Any], *parameters: str) -> dict[str, Any]:
    return {"parameters": [_ref(each) for each in parameters], **operations}


def _ref(parameter: str) -> dict[str, str]:
    return {"$ref": f"#/components/parameters/{parameter}"}


def _problems(*statuses: int) -> dict[str, Any]:
    """Failing answers, and those of a server that checks who asks."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    answer = {"description": "what is wrong", "content": {"application/problem+json": schema}}
    return {str(status): answer for status in (400, 401, 403, 405, 421, *statuses)}


def _content(media_type: str, schema: Any) -> dict[str, Any]:
    return {"content": {media_type: {"schema": schema}}}


def _get(
    summary: str, media_type: str = "application/json", *, found: bool = False, token: bool = True
) -> dict[str, Any]:
    answer = {"description": summary, **_content(media_type, {})}
    statuses = (404, 503) if found else ()
    return {"summary": summary, "responses": {"200": answer, **_problems(*statuses)}}


def _open(summary: str, others: dict[str, Any]) -> dict[str, Any]:
    answer = {"description": summary, **_content("application/json", {"type": "object"})}
    return {
        "summary": summary,
        "security": list[Any](),
        "responses": {"200": answer, **others, **_problems()},
    }


def _not_ready() -> dict[str, Any]:
    return {"description": "not ready", **_content("application/json", {"type": "object"})}


def _part() -> dict[str, Any]:
    headers = {**_TAGGED, "Preference-Applied": _APPLIED}
    return {
        "summary": "The object or a part of it",
        "parameters": [_ref(each) for each in ("path", "wait", "at", "if-none-match", "prefer")],
        "responses": {
            "200": {
                "description": "the value",
                "headers": headers,
                **_content("application/json", {}),
            },
            "304": {"description": "the client has it", "headers": headers},
            **_problems(404, 410, 503),
        },
    }


def _index() -> dict[str, Any]:
    operation = _get("The names of the objects; to a browser, a page")
    operation["responses"]["200"]["content"]["text/html"] = {"schema": {"type": "string"}}
    operation["responses"]["304"] = {"description": "the browser has the page"}
    return {**operation, "parameters": [_ref("if-none-match")]}


def _status() -> dict[str, Any]:
    return {**_get("The status of the peer", found=True), "parameters": [_ref("ping")]}


def _patch() -> dict[str, Any]:
    written = {"$ref": "#/components/schemas/Written"}
    return {
        "summary": "Change the object or a part of it",
        "parameters": [
            _ref(each) for each in ("path", "if-match", "if-none-match", "idempotency-key")
        ],
        "requestBody": {
            "required": True,
            "content": {form: {"schema": schema} for form, schema in _BODIES.items()},
        },
        "responses": {
            "200": {
                "description": "the outcome",
                "headers": _TAGGED,
                **_content("application/json", written),
            },
            **_problems(404, 408, 409, 412, 413, 415, 422, 503, 504),
        },
    }


def _stream() -> dict[str, Any]:
    answer = {
        "description": "events named snapshot and patch, without end",
        **_content("text/event-stream", {"type": "string"}),
    }
    return {
        "summary": "The changes of the object or of a part of it",
        "parameters": [_ref(each) for each in ("path", "since", "last-event-id")],
        "responses": {"200": answer, **_problems(404, 503)},
    }
