"""How the document layer says no: one constructor, so that every error carries kind, path, code."""

from __future__ import annotations

from reprlib import Repr
from typing import Any

from memsync.errors import UpdateError

_repr = Repr()
_repr.maxstring = _repr.maxother = 80
shown = _repr.repr

# `shown` is repr for messages: short, and safe with values of any size and depth.
__all__ = ["SERVER_CODES", "failure", "patch_failure", "shown"]

# The number MongoDB's server gives for each kind, where it does not depend on the operator.
SERVER_CODES = {
    "array_filters": 2,
    "array_path_missing": 2,
    "bad_operand": 9,
    "bad_value": 2,
    "dollar_prefixed": 52,
    "empty_field_name": 56,
    "not_array": 2,
    "overflow": 2,
    "path_conflict": 40,
    "path_not_viable": 28,
    "positional_no_match": 2,
    "type_mismatch": 14,
    "unknown_operator": 9,
}


def failure(kind: str, message: str, path: str | None = None, code: int = 0) -> UpdateError:
    """The error to raise for an update or filter that breaks a rule of the server's."""
    server_code = code or SERVER_CODES[kind]
    return UpdateError(message, kind=kind, path=path, server_code=server_code)


def patch_failure(kind: str, message: str, path: Any = None) -> UpdateError:
    """The error to raise for an RFC 6902 patch; MongoDB has no number for those."""
    shown = path if isinstance(path, str) else None
    return UpdateError(message, kind=kind, path=shown, server_code=None)
