"""An object in S3, GCS or Azure: replaced only while it is the one that was read.

A put carries the tag of what it replaces (``If-Match``), so two hosts cannot both succeed. Some
gateways ignore the header without a word. So each host first puts a small object beside the place
with a wrong tag: a store that accepts it has no fence.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from ..errors import StorageError
from .targets import CONDITIONAL, NONE, START, Check, refusal

_TRIES = 5  # puts of one save that others come before
_WRONG_TAG = {"e_tag": '"00000000000000000000000000000000"', "version": "1"}
_PATIENCE = timedelta(seconds=10)  # for all tries of one request


class StoredObject:
    """See `targets.Target`."""

    def __init__(self, url: str, *, fenced: bool) -> None:
        self.url = url
        self.fencing = "unknown"  # until `prepare`
        self._fenced = fenced
        root, _, rest = url.partition("://")
        root = root.lower()
        bucket, _, self._key = rest.partition("/")
        if not bucket or not self._key or self._key.endswith("/"):
            raise StorageError(f"{url}: name a bucket and an object, as in {root}://bucket/a.json")
        self._bucket = f"{root}://{bucket}"
        self._opened: Any = None

    def prepare(self) -> None:
        if self.fencing == "unknown":
            self.fencing = CONDITIONAL if self._refuses_wrong_tags() else NONE
        if self.fencing == NONE and self._fenced:
            raise refusal(self.url, "the store ignores the condition of a put")

    def read(self) -> bytes | None:
        found = self._get()
        return None if found is None else found[0]

    def read_start(self) -> bytes | None:
        found = self._get(START)
        return None if found is None else found[0]

    def write(self, pieces: Iterable[bytes | bytearray], check: Check) -> None:
        data = b"".join(pieces)
        for _ in range(_TRIES):
            found = self._get(START)
            check(None if found is None else found[0])
            mode: Any = "create" if found is None else found[1]
            if self.fencing == NONE:
                mode = "overwrite"
            if self._put(self._key, data, mode):
                return
            # Another put came first, or the answer to an earlier try was lost: check again.
        raise StorageError(f"{self.url}: others replace this object all the time")

    def _refuses_wrong_tags(self) -> bool:
        key = f"{self._key}.probe-{secrets.token_hex(8)}"
        self._put(key, b"memsync asks whether this store heeds If-Match", "overwrite")
        try:
            return not self._put(key, b"it does not", self._tag(_WRONG_TAG))
        finally:
            with suppress(Exception):  # what stays there does no harm
                _obstore().delete(self._store(), key)

    def _tag(self, meta: Any) -> dict[str, str]:
        """The condition by which this store recognizes an object.

        GCS compares generations, which obstore calls versions; S3 and Azure compare tags.
        """
        if self._bucket.startswith("gs"):
            return {"version": meta["version"]}
        return {"e_tag": meta["e_tag"]}

    def _get(self, most: int | None = None) -> tuple[bytes, Any] | None:
        options: Any = None if most is None else {"range": (0, most)}
        try:
            found = _obstore().get(self._store(), self._key, options=options)
            return bytes(found.bytes()), self._tag(found.meta)
        except FileNotFoundError:
            return None
        except Exception as error:
            if most is not None and " 416 " in str(error):
                return self._get()  # an empty object has no start
            raise self._failure("read", error) from error

    def _put(self, key: str, data: bytes, mode: Any) -> bool:
        """Put an object; False if the condition is not met."""
        from obstore import exceptions

        try:
            _obstore().put(self._store(), key, data, mode=mode, use_multipart=False)
            return True
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return False
        except FileNotFoundError as error:
            if mode == "create" or mode == "overwrite":
                raise self._failure("written", error) from error  # there is no such bucket
            return False  # somebody has deleted the object
        except Exception as error:
            if " 409 " in str(error):
                return False  # another put is under way
            raise self._failure("written", error) from error

    def _store(self) -> Any:
        if self._opened is None:
            _obstore()
            from obstore.store import from_url

            # No `client_options`: they would hide those that the environment states.
            retry: Any = {"max_retries": 3, "retry_timeout": _PATIENCE}
            try:
                self._opened = from_url(self._bucket, retry_config=retry)
            except Exception as error:
                raise self._failure("opened", error) from error
        return self._opened

    def _failure(self, what: str, error: Exception) -> StorageError:
        if isinstance(error, StorageError):
            return error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return StorageError(f"{self.url}: cannot be {what}: {' '.join(lines)[:300]}")


_pid = 0  # of the process in which obstore was used first


def _obstore() -> Any:
    global _pid
    _pid = _pid or os.getpid()
    if _pid != os.getpid():
        raise StorageError(
            "file.path names an object store, and this process was forked from one that had used "
            "it: the threads of obstore do not survive a fork, so start the process by spawn or "
            "forkserver"
        )
    try:
        import obstore
    except ModuleNotFoundError as error:
        raise StorageError(
            "file.path names an object store, which needs obstore: pip install 'memsync[s3]'"
        ) from error
    return obstore
