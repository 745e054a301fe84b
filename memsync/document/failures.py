"""The errors of the document layer, built in one place so that each has a kind, path and code."""

from __future__ import annotations

from reprlib import Repr
from typing import Any

from ..errors import UpdateError
from ..lasting import lasting


@lasting
class ForeignValueError(Exception):
    """A document holds a value that JSON cannot represent; the caller finds out where.

    It never leaves this package: the public functions turn it into `NotSerializableError`.
    """


class _Repr(Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to convert integers of more than a few thousand digits to text.
        return f"an integer of {x.bit_length()} bits" if abs(x) >= 10**40 else repr(x)


_repr = _Repr()
_repr.maxstring = _repr.maxother = 80
brief = _repr.repr

# `brief` is `repr` for messages: short, and safe for values of any size and depth.
__all__ = ["SERVER_CODES", "ForeignValueError", "brief", "failure", "patch_failure"]

# The error code of MongoDB's server for each kind, unless the operator determines it.
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
    """The error to raise for an update or filter that breaks a rule of MongoDB's server."""
    server_code = code or SERVER_CODES[kind]
    return UpdateError(message, kind=kind, path=path, server_code=server_code)


def patch_failure(kind: str, message: str, path: Any = None) -> UpdateError:
    """The error to raise for an RFC 6902 patch; MongoDB has no error codes for those."""
    pointer = path if isinstance(path, str) else None
    return UpdateError(message, kind=kind, path=pointer, server_code=None)
