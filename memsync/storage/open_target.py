"""Which URL leads to which target.

A path leads to a file of this machine, ``s3:// gs:// az://`` to an object store, and every other
URL to what fsspec knows. The options have made a path of ``file://``. The optional libraries are
imported at first use.
"""

from __future__ import annotations

from .targets import Target

_OBJECT_STORES = ("s3", "gs", "az")


def scheme_of(path: str) -> str | None:
    """The scheme of a URL in small letters; None for a path.

    >>> scheme_of("s3://bucket/key"), scheme_of("/data/state.json")
    ('s3', None)
    """
    scheme, separator, _ = path.partition("://")
    return scheme.lower() if separator and scheme.replace("+", "").isalnum() else None


def open_target(url: str, *, fenced: bool) -> Target:
    """The target that a URL leads to; raises `StorageError` if a library is missing.

    With `fenced` a target that cannot keep older objects away is refused by `prepare`.
    """
    scheme = scheme_of(url)
    if scheme is None:
        from .local_file import LocalFile

        return LocalFile(url)
    if scheme in _OBJECT_STORES:
        from .object_store import StoredObject

        return StoredObject(url, fenced=fenced)
    from .fsspec_file import FsspecFile

    return FsspecFile(url, fenced=fenced)
