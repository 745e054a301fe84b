"""``array_filters``: which elements ``$[identifier]`` selects."""

from __future__ import annotations

import re
from typing import Any

from ...errors import UpdateError
from ..failures import brief, failure
from ..values import normalize
from .query import Query, parse_query

_IDENTIFIER = re.compile(r"[a-z][a-zA-Z0-9]*")

Filters = dict[str, Query]


def parse_array_filters(array_filters: Any) -> Filters:
    """Parse the filters, keyed by identifier. Raises `UpdateError` of kind ``array_filters``."""
    checked = normalize(array_filters)
    if not isinstance(checked, list):
        raise failure("array_filters", "array_filters must be a list of filters", code=14)
    filters: Filters = {}
    for item in checked:
        identifier, query = _parse_one(item)
        if identifier in filters:
            raise failure(
                "array_filters", f"array_filters has two filters for {identifier!r}", code=9
            )
        filters[identifier] = query
    return filters


def _parse_one(item: Any) -> tuple[str, Query]:
    if not isinstance(item, dict):
        raise failure(
            "array_filters", f"an array filter must be an object, not {brief(item)}", code=14
        )
    try:
        query = parse_query(item)
    except UpdateError as error:
        code = error.server_code or 2
        raise failure("array_filters", f"in an array filter: {error}", code=code) from error
    names = set(query.names)
    if len(names) != 1:
        raise failure(
            "array_filters",
            f"an array filter must be about one identifier, this is about {sorted(names)}",
            code=9,
        )
    identifier = names.pop()
    if not _IDENTIFIER.fullmatch(identifier):
        raise failure(
            "array_filters",
            f"the identifier {identifier!r} of an array filter must start with a lowercase letter "
            "and hold only letters and digits",
        )
    return identifier, query
