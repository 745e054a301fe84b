"""``PATCH``: changes of the object, with the conditions and outcomes of `MemSync.patch`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..clocks import monotonic
from ..document import encoded_json
from ..errors import ConflictError, MemErrors, MemSyncError, UpdateError, WriteTimeoutError
from ..runtime.call import Call
from ..runtime.futures import WriteFuture
from .background import in_thread
from .conditions import is_weak, tags
from .once import Written, write_once
from .problems import Problem
from .served import Served, wake
from .target import Target, Tokens, bad_request, pointer_text
from .updates import FORMS, MERGE_PATCH, guarded

if TYPE_CHECKING:
    from ..runtime.participant import Participant

BODY_SECONDS = 30.0  # for the body of a request to arrive
AT_A_TIME = 16  # writes that have a thread each
SMALL = 1 << 14  # bytes of a body that is compiled on the thread of the loop
_TRIES = 5  # of a merge that others come before
_LONGEST_KEY = 255


class Writes:
    """The writes of one server."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_A_TIME)

    async def patch(self, request: Request, served: Served, target: Target) -> Response:
        """Answer a ``PATCH``; raises `Problem` and `MemSyncError`."""
        if not served.writes:
            raise Problem(
                403,
                str(MemErrors.ERR_READ_ONLY),
                "this server only reads: state server.write and server.token to change that",
                outcome="not_applied",
            )
        form = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if form not in FORMS:
            accepted = ", ".join(FORMS)
            raise Problem(
                415,
                "ERR_MEDIA_TYPE",
                f"a body of {form!r:.80} is not understood: choose one of {accepted}",
                {"Accept-Patch": accepted},
                outcome="not_applied",
            )
        others = target.query.keys() - {"path"}
        if others:
            raise bad_request(f"{', '.join(sorted(others))}: PATCH changes the object of now")
        key = _key(request)
        expected = tags(request.headers, "if-match", strong=True)
        unwanted = tags(request.headers, "if-none-match")
        participant = served.participant
        raw = await _body(request, participant.options.network.max_frame)
        update = _Update(served, target.tokens, form, _decoded(raw), expected, unwanted)
        seconds = participant.options.timeout
        if key is None and (len(raw) > SMALL or update.is_conditional):
            version, repeated = await self._in_thread(participant, update, seconds), False
        elif key is None:
            version, repeated = await update.write(participant, seconds), False
        else:
            conditions = sorted(expected or ()), sorted(unwanted or ())
            place = (served.name, target.tokens, form, *conditions, raw.hex())
            digest = sha256(repr(place).encode()).hexdigest()[:40]
            written = await self._once(participant, key, digest, update, seconds)
            if written.digest != digest:
                raise Problem(
                    422,
                    "ERR_IDEMPOTENCY_KEY",
                    "this Idempotency-Key was used for another request: take a new one",
                    outcome="not_applied",
                )
            version, repeated = written.version, written.repeated
        return _answer(served, target.tokens, version, repeated)

    async def _in_thread(self, participant: Participant, update: _Update, seconds: float) -> int:
        """Write what may take long to compile: a large body, or a comparison with a large part."""
        deadline = monotonic() + seconds

        def send() -> int:
            call = Call(deadline=deadline)
            version: int = participant.writer.patch(
                update.now(), call, max(deadline - monotonic(), 0.0)
            )
            return version

        def write() -> int:
            version: int = update.tried(send)
            return version

        async with self._places:
            return await in_thread(write, "memsync-http-write")

    async def _once(
        self, participant: Participant, key: str, digest: str, update: _Update, seconds: float
    ) -> Written:
        """Write on a thread of its own, because that waits for a lock."""

        def write() -> Written:
            written: Written = update.tried(
                lambda: write_once(participant, key, digest, update.now, seconds)
            )
            return written

        async with self._places:
            return await in_thread(write, "memsync-http-write")


class _Update:
    """One change, compiled against the view when it is sent."""

    def __init__(
        self,
        served: Served,
        part: Tokens,
        form: str,
        body: Any,
        expected: frozenset[str] | None,
        unwanted: frozenset[str] | None,
    ) -> None:
        self._served = served
        self._part = part
        self._form = form
        self._body = body
        self._expected = expected
        self._unwanted = unwanted

    @property
    def is_conditional(self) -> bool:
        """Whether the change depends on the part as it is."""
        return self._expected is not None or self._unwanted is not None

    def now(self) -> Any:
        """The update of the whole object; raises `Problem` if the part has another tag."""

        def look(view: Any) -> Any:
            self._check_tag()
            update = FORMS[self._form](self._body, self._part, view)
            return guarded(update, self._part, view) if self.is_conditional else update

        return self._served.participant.read(look)

    def _check_tag(self) -> None:
        expected, unwanted = self._expected, self._unwanted
        if not self.is_conditional:
            return
        part = self._served.part(self._part)
        tag = None if part is None else part.tag
        if expected is not None and not _names(expected, tag):
            raise self._unmatched(tag)
        if unwanted is not None and _names(unwanted, tag):
            raise self._changed(tag, "is what If-None-Match names")

    def _unmatched(self, tag: str | None) -> Problem:
        hint = " (a weak tag names nothing)" if any(map(is_weak, self._expected or ())) else ""
        return self._changed(tag, f"is not what If-Match names{hint}")

    def _changed(self, tag: str | None, what: str) -> Problem:
        return Problem(
            412,
            "ERR_CONDITION",
            f"{pointer_text(self._part) or 'the object'!r:.80} {what}: read it again",
            {} if tag is None else {"ETag": tag},
            outcome="not_applied",
        )

    def tried(self, write: Callable[[], Any]) -> Any:
        """Write, again where others came first and the change is to be made on their result."""
        for left in reversed(range(_TRIES)):
            try:
                return write()
            except (ConflictError, UpdateError) as error:
                self._consider(error, left)
        raise AssertionError("the last try raises")

    def _consider(self, error: MemSyncError, left: int) -> None:
        if self._expected is not None and isinstance(error, ConflictError):
            part = self._served.part(self._part)
            tag = None if part is None else part.tag
            raise self._unmatched(tag) from error
        if (self._form != MERGE_PATCH and self._unwanted is None) or not left:
            raise error

    async def write(self, participant: Participant, seconds: float) -> int:
        """Write, and wait for the outcome; returns the version."""
        deadline = monotonic() + seconds
        for left in reversed(range(_TRIES)):
            try:
                return await _submitted(participant, self.now(), deadline, seconds)
            except (ConflictError, UpdateError) as error:
                self._consider(error, left)
        raise AssertionError("the last try raises")


async def _submitted(participant: Participant, update: Any, deadline: float, seconds: float) -> int:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()

    def settle(future: Any) -> None:
        if done.done():
            return
        error = future.exception(0)
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(future.result(0))

    future = WriteFuture(lambda callback, *args: wake(loop, partial(callback, *args)))
    participant.writer.submit(update, Call(deadline=monotonic()), future)
    future.add_done_callback(settle)
    try:
        async with asyncio.timeout(max(deadline - monotonic(), 0)):
            return await done
    except TimeoutError:
        raise WriteTimeoutError(
            f"the write was not acknowledged within {seconds:g} s; it may still be applied: repeat "
            "it with the same Idempotency-Key, or read the object"
        ) from None


def _names(condition: frozenset[str], tag: str | None) -> bool:
    """Whether a condition names a part with this tag; nothing names one that does not exist."""
    return tag is not None and (tag in condition or "*" in condition)


def _answer(served: Served, part: Tokens, version: int, repeated: bool) -> Response:
    now = served.part(part)
    body = {"outcome": "applied", "version": version, "repeated": repeated}
    response = Response(bytes(encoded_json(body)), media_type="application/json")
    if now is not None:
        response.headers["etag"] = now.tag
        response.headers["memsync-version"] = f"{now.epoch}-{now.version}"
    return response


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    key = key.strip().strip('"')
    if not 0 < len(key) <= _LONGEST_KEY:
        raise bad_request(f"Idempotency-Key: expected 1 to {_LONGEST_KEY} characters")
    return key


async def _body(request: Request, most: int) -> bytes:
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                data += piece
                if len(data) > most:
                    raise Problem(
                        413,
                        str(MemErrors.ERR_TOO_LARGE),
                        f"the body has more than {most} bytes (network.maxFrame)",
                        {"Connection": "close"},
                        outcome="not_applied",
                    )
    except TimeoutError:
        raise Problem(
            408,
            "ERR_TIMEOUT",
            f"the body did not arrive within {BODY_SECONDS:g} s",
            {"Connection": "close"},
            outcome="not_applied",
        ) from None
    except ClientDisconnect:
        raise bad_request("the client has gone") from None
    return bytes(data)


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"the body is no JSON: {error}") from None
