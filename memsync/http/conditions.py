"""The conditions of requests: entity tags (RFC 9110, 13) and how long to wait (RFC 7240)."""

from __future__ import annotations

import math
import re

from starlette.datastructures import Headers

from .target import bad_request

LONGEST_WAIT = 300.0  # seconds

_TAG = re.compile(r'\s*(W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')
_PREFERRED = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?([0-9]+)"?\s*(?=$|[,;])', re.IGNORECASE)


def tags(headers: Headers, name: str, *, strong: bool = False) -> frozenset[str] | None:
    """The entity tags in a header, without ``W/``; ``*`` stands for itself. None: no header.

    With `strong`, a weak tag keeps its ``W/``, so it equals no tag of a part: those are all strong.
    Raises `Problem`.
    """
    lines = headers.getlist(name)
    if not lines:
        return None
    text = ",".join(lines).strip()
    if text == "*":
        return frozenset("*")
    found, end = [], 0
    while end < len(text):
        match = _TAG.match(text, end)
        if match is None:
            raise bad_request(f'{name}: {text!r:.80} has no entity tags: write them like "abc"')
        found.append((match[1] or "") + match[2] if strong else match[2])
        end = match.end()
    return frozenset(found)


def is_weak(tag: str) -> bool:
    """Whether a tag was read with its ``W/``."""
    return tag.startswith("W/")


def wait_seconds(headers: Headers, stated: str | None) -> float:
    """The seconds that a request waits for a change; the parameter wins. Raises `Problem`."""
    if stated is None:
        preferred = _PREFERRED.search(",".join(headers.getlist("prefer")))
        return 0.0 if preferred is None else min(float(preferred[1]), LONGEST_WAIT)
    try:
        seconds = float(stated) if stated.isascii() and "_" not in stated else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT:
        raise bad_request(f"wait = {stated!r:.80}: expected seconds, 0 to {LONGEST_WAIT:g}")
    return seconds


def past_version(stated: str | None) -> int | None:
    """The version that a request asks for; None: the one of now. Raises `Problem`."""
    if stated is None:
        return None
    if not (stated.isascii() and stated.isdecimal() and len(stated) < 19):
        raise bad_request(f"at = {stated!r:.80}: expected a version, like 17")
    return int(stated)
