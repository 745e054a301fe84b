"""What a request is about: ``/<name>/a/b/0`` names the object and a part of it.

The segments are percent-decoded one by one, so a field may have a slash or a dot in its name. The
words ``status`` (behind the name) and ``changes`` (at the end) are routes. A field with such a name
is reached with ``?path=``, an RFC 6901 pointer that is appended and never a route.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

from starlette.types import Scope

from .problems import Problem

Tokens = tuple[str, ...]

_ABSOLUTE = re.compile(rb"http://([^/?#]*)(/.*)?", re.IGNORECASE)
_MAX_DEPTH = 100  # levels that an object may have
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PARAMETERS = {
    "": {"path", "wait", "at"},
    "changes": {"path", "since"},
    "status": {"ping"},
}


class Target(NamedTuple):
    """An object, a route of it (``""``, ``"changes"`` or ``"status"``), a part, and parameters."""

    name: str
    route: str
    tokens: Tokens
    query: dict[str, str]


def parse_target(raw_path: bytes, raw_query: bytes) -> Target:
    """The target of a request; raises `Problem`.

    >>> parse_target(b"/jobs/a%2Fb/0", b"")
    Target(name='jobs', route='', tokens=('a/b', '0'), query={})
    >>> parse_target(b"/jobs/queue/changes", b"")[1:3]
    ('changes', ('queue',))
    >>> parse_target(b"/jobs", b"path=/status")[1:3]
    ('', ('status',))
    """
    segments = [decoded(segment) for segment in raw_path.split(b"/")[1:]]
    if len(segments) > 1 and segments[-1] == "":
        segments.pop()
    name, *rest = segments
    route = ""
    if rest == ["status"] or rest[-1:] == ["changes"]:
        route = rest.pop()
    query = _parsed_query(raw_query, route)
    tokens = (*rest, *_pointer(query.get("path", "")))
    if len(tokens) > _MAX_DEPTH:
        raise bad_request(f"the path has {len(tokens)} parts: objects have {_MAX_DEPTH} levels")
    return Target(name, route, tokens, query)


def take_authority(scope: Scope) -> None:
    """Turn a target ``http://authority/path`` (RFC 9112, 3.2.2) of a request into its path.

    The authority replaces the header ``Host``, so the checks of that hold for it.
    """
    match = _ABSOLUTE.fullmatch(scope.get("raw_path") or b"")
    if match is None:
        return
    path = match[2] or b"/"
    scope["raw_path"], scope["path"] = path, unquote(path.decode("ascii"))
    others = [header for header in scope["headers"] if header[0] != b"host"]
    scope["headers"] = [(b"host", match[1]), *others]


def bad_request(detail: str) -> Problem:
    """The answer to a request that makes no sense."""
    return Problem(400, "ERR_USAGE", detail, outcome="not_applied")


def decoded(segment: bytes) -> str:
    """A percent-decoded segment of a path; raises `Problem`."""
    if _BAD_ESCAPE.search(segment):
        raise bad_request(f"{segment!r:.80} is not percent-encoded: write a '%' as '%25'")
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise bad_request(f"{segment!r:.80} does not decode to UTF-8") from None


def pointer_text(tokens: Tokens) -> str:
    """The RFC 6901 pointer to a part.

    >>> pointer_text(("a/b", "0"))
    '/a~1b/0'
    """
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)


def _pointer(text: str) -> Tokens:
    if not text:
        return ()
    if not text.startswith("/") or re.search("~(?![01])", text):
        raise bad_request(f"path = {text!r:.80} is no RFC 6901 pointer: write it like '/a/b/0'")
    parts = text[1:].split("/")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def _parsed_query(raw: bytes, route: str) -> dict[str, str]:
    try:
        if _BAD_ESCAPE.search(raw):
            raise ValueError
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16
        )
    except ValueError:  # a UnicodeDecodeError, too
        raise bad_request(f"the query {raw!r:.80} is not percent-encoded UTF-8") from None
    query: dict[str, str] = {}
    known = _PARAMETERS[route]
    for key, value in pairs:
        if key not in known:
            choice = f"choose from {', '.join(sorted(known))}" if known else "there are none here"
            raise bad_request(f"unknown parameter {key!r:.80}: {choice}")
        if key in query:
            raise bad_request(f"the parameter {key!r} is there twice")
        query[key] = value
    return query
