"""``$regex``, with limits that keep a pattern from blocking the host.

MongoDB's server uses PCRE patterns; `pcre` translates them for Python's `re`, or refuses them. `re`
backtracks and cannot be interrupted, so patterns are limited in length and may not repeat a group
that itself contains an unlimited repetition, such as ``(a+)+``: the usual cause of exponential
matching time.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ..failures import failure
from ..order import type_name

MAX_PATTERN_LENGTH = 1000

_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE, "u": re.UNICODE}

_UNLIMITED = re.compile(r"[*+]|\{\d*,\}")
# The tokens that matter for repetition: escapes, classes, parentheses, unlimited quantifiers.
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(|\)|[*+]|\{\d*,\}", re.DOTALL)


def compile_pattern(pattern: Any, options: Any) -> re.Pattern[str]:
    """Compile a pattern. Raises `UpdateError` if it is malformed, too long or dangerous."""
    if not isinstance(pattern, str):
        raise failure("bad_value", f"$regex needs a string, not {type_name(pattern)}")
    if not isinstance(options, str):
        raise failure("bad_value", f"$options needs a string, not {type_name(options)}")
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise failure("bad_value", f"$regex is longer than {MAX_PATTERN_LENGTH} characters")
    unknown = set(options) - set(_FLAGS)
    if unknown:
        raise failure("bad_value", f"$options: unknown flag {min(unknown)!r}", code=51108)
    return _compile(pattern, "".join(sorted(set(options))))


@lru_cache(maxsize=256)
def _compile(pattern: str, options: str) -> re.Pattern[str]:
    from .pcre import UnsupportedError, translate  # here, as it compiles ten patterns

    flags = re.NOFLAG
    for option in options:
        flags |= _FLAGS[option]
    try:
        translated = translate(pattern, options)
    except UnsupportedError as error:
        message = f"$regex {pattern!r} needs what is not supported: {error}"
        raise failure("bad_value", message, code=51091) from None
    if _repeats_a_repetition(translated):
        raise failure(
            "bad_value", f"$regex {pattern!r} repeats a group that repeats: it could take for ever"
        )
    try:
        return re.compile(translated, flags)
    except (re.error, RecursionError, OverflowError) as error:
        message = f"$regex {pattern!r} is no regular expression: {error}"
        raise failure("bad_value", message, code=51091) from None


def _repeats_a_repetition(pattern: str) -> bool:
    # Per open group, innermost last: whether it holds an unlimited repetition.
    open_groups = [False]
    closed = False  # whether the group that was just closed does
    for token in _TOKEN.finditer(pattern):
        text = token.group()
        follows_group = closed and pattern[token.start() - 1] == ")"
        closed = False
        if text == "(":
            open_groups.append(False)
        elif text == ")" and len(open_groups) > 1:
            closed = open_groups.pop()
            open_groups[-1] = open_groups[-1] or closed
        elif _UNLIMITED.fullmatch(text):
            if follows_group:
                return True
            open_groups[-1] = True
    return False
