"""The two notations for a place in a document: MongoDB's ``a.b.0`` and RFC 6901's ``/a/b/0``.

Parsing is cached because programs keep writing to the same places.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

from ..errors import NotSerializableError
from .failures import failure, patch_failure
from .values import MAX_DEPTH, MAX_FIELD_BYTES, check_field_name

# MongoDB's limit on the nulls that are created by setting an element far beyond an array's end.
MAX_PADDING = 1_500_000

# The number of digits of the largest unsigned 64-bit number.
_MAX_DIGITS = 20

Parts = tuple[str, ...]


def is_filtered(part: str) -> bool:
    """Whether a part is ``$[]`` or ``$[identifier]``."""
    return len(part) >= 3 and part.startswith("$[") and part.endswith("]")


def is_digits(part: str) -> bool:
    """Whether a part can address an element of an array."""
    return part.isascii() and part.isdigit()


def array_index(part: str) -> int | None:
    """Return the array index that a part of an update path stands for, or None.

    As in the server, an index is any unsigned 64-bit number, and leading zeros are accepted:
    ``a.01`` is ``a.1`` where ``a`` is an array.
    """
    if not is_digits(part) or (len(part) > _MAX_DIGITS and len(part.lstrip("0")) > _MAX_DIGITS):
        return None
    index = int(part)
    return index if index < 2**64 else None


def element_index(part: str, array: list[Any]) -> int | None:
    """Return the index of the element of an array that a part of a path names, or None."""
    index = array_index(part)
    return index if index is not None and index < len(array) else None


class UpdatePath(NamedTuple):
    """A parsed update path, and how it depends on the document.

    `dynamic`: the path has ``$`` or ``$[]`` parts, which depend on arrays. `identifiers`: the names
    in ``$[name]``. `ambiguous`: a part is a number of several digits. Leading zeros let two paths
    name the same element, and setting an element far beyond the end rewrites an array that another
    path may lead into. `special`: any of these applies, or the path starts with "$".
    """

    parts: Parts
    pointer: str
    dynamic: bool
    identifiers: tuple[str, ...]
    ambiguous: bool
    special: bool


def parse_once(path: str) -> UpdatePath:
    """Parse an update path, for a caller that caches the result. Raises `UpdateError`.

    >>> parse_once("a.$[].b").parts
    ('a', '$[]', 'b')
    """
    parts = tuple(path.split("."))
    if are_plain((path,)):
        ambiguous = len(parts) > 1 and any(len(part) > 1 and is_digits(part) for part in parts[1:])
        return UpdatePath(parts, f"/{path.replace('.', '/')}", False, (), ambiguous, ambiguous)
    if "" in parts:
        raise failure("empty_field_name", f"the path {path!r} has an empty field name", path)
    if not path.isascii() or len(path) > MAX_FIELD_BYTES:
        for part in parts:
            check_field_name(part, "")
    if len(parts) > MAX_DEPTH:
        start = f"{path[:40]}..."
        raise NotSerializableError(f"{start}: nested deeper than {MAX_DEPTH} levels", path=path)
    filtered = [part for part in parts if is_filtered(part)] if "$" in path else []
    positional = parts.count("$")
    if positional > 1:
        raise failure("bad_value", f"the path {path!r} has more than one positional '$'", path)
    if parts[0] == "$" or parts[0] in filtered:
        raise failure(
            "bad_value", f"the path {path!r} starts with {parts[0]!r}: name an array first", path
        )
    dynamic = bool(positional or filtered)
    ambiguous = any(len(part) > 1 and is_digits(part) for part in parts[1:])
    return UpdatePath(
        parts,
        pointer_of(parts),
        dynamic,
        tuple(part[2:-1] for part in filtered if part != "$[]"),
        ambiguous,
        special=dynamic or ambiguous or path[0] == "$",
    )


@lru_cache(maxsize=4096)
def parse_path(path: str) -> UpdatePath:
    """Parse an update path. Raises `UpdateError` if no update may use it."""
    return parse_once(path)


def are_plain(paths: Collection[str]) -> bool:
    """Whether all parts of all paths are names that need no parsing.

    Such names are short ASCII text without ``$``, and a pointer holds them as they are. Only an
    array reads a number among them as an index. The check joins the paths, so that it costs little
    for a thousand of them.

    >>> are_plain(["n", "users.u1"]), are_plain(["a..b"]), are_plain(["a.$[].n"])
    (True, False, False)
    """
    if not _PLAIN_TYPES.issuperset(map(type, paths)):
        return False
    text = "\n".join(paths)
    if text.isidentifier() and text.isascii() and len(text) <= _MAX_PLAIN:
        return True  # a single name
    if "$" in text or "/" in text or "~" in text or "" in paths or not text.isascii():
        return False
    if "." in text:
        text = f"\n{text}\n"
        # A part with a leading zero may name the same array element as another one.
        if ".." in text or "\n." in text or ".\n" in text or ".0" in text:
            return False
    return len(text) <= _MAX_PLAIN or max(map(len, paths)) <= _MAX_PLAIN


_PLAIN_TYPES = frozenset({str})
# The number of characters of a path that certainly is within all limits.
_MAX_PLAIN = 150


def common_prefix(paths: Collection[str], separator: str) -> str | None:
    """Return what stands before the last part of all paths; None if that differs.

    It consists of loops in C, so that it costs little for a thousand paths.

    >>> common_prefix(["/a/b", "/a/c"], "/"), common_prefix(["b", "c"], ".")
    ('/a/', '')
    >>> common_prefix(["/a/b", "/a/c/d"], "/")
    """
    first = next(iter(paths))
    prefix = first[: first.rfind(separator) + 1]
    if "".join(paths).count(separator) != len(paths) * prefix.count(separator):
        return None
    return prefix if all(map(str.startswith, paths, repeat(prefix))) else None


def pointer_of(parts: Parts) -> str:
    """Return the RFC 6901 pointer for concrete parts.

    >>> pointer_of(("a", "b/c", "~"))
    '/a/b~1c/~0'
    """
    joined = "/".join(parts)
    if "~" in joined or joined.count("/") >= len(parts):
        joined = "/".join([part.replace("~", "~0").replace("/", "~1") for part in parts])
    return f"/{joined}" if parts else ""


@lru_cache(maxsize=4096)
def parse_pointer(pointer: str) -> Parts:
    """Return the tokens of an RFC 6901 pointer. Raises `UpdateError` if it is malformed.

    >>> parse_pointer("/a/b~1c/~0")
    ('a', 'b/c', '~')
    """
    if not pointer:
        return ()
    if not pointer.startswith("/"):
        raise patch_failure("bad_value", f"{pointer!r} is no JSON pointer: no '/' first", pointer)
    if "~" not in pointer:
        return tuple(pointer.split("/")[1:])
    if "~" in pointer.replace("~0", "").replace("~1", ""):
        raise patch_failure(
            "bad_value", f"{pointer!r} is no JSON pointer: after '~' must come 0 or 1", pointer
        )
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


@lru_cache(maxsize=4096)
def split(pointer: str) -> tuple[Parts, str | None]:
    """Split a pointer into the tokens of the parent and the last token, None at the root."""
    if not isinstance(pointer, str):
        raise TypeError
    if "~" not in pointer and pointer.startswith("/"):
        container, _, last = pointer.rpartition("/")
        return parse_pointer(container), last  # many places have one container
    tokens = parse_pointer(pointer)
    return tokens[:-1], tokens[-1] if tokens else None


def above(pointer: str) -> Iterator[str]:
    """Yield the pointers of all containers of a place, innermost first."""
    end = pointer.rfind("/")
    while end >= 0:
        yield pointer[:end]
        end = pointer.rfind("/", 0, end)


def pointer_index(token: str) -> int | None:
    """Return the array index of a pointer token; None unless it is digits without leading zeros."""
    if not is_digits(token) or (token[0] == "0" and token != "0"):
        return None
    return int(token) if len(token) <= 10 else None


def field_order(part: str) -> tuple[str, int, str]:
    """Return a sort key for the order in which the server processes fields: ``2`` before ``10``."""
    return ("1", len(part), part) if "1" <= part[:1] <= "9" else (part, 0, "")


def processing_order(parts: Parts) -> Any:
    """Return a sort key for whole paths, none of which contains another."""
    return tuple(map(field_order, parts))
