"""Answers to requests that fail: ``application/problem+json`` (RFC 9457) with a ``code``."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from ..document import encoded_json
from ..errors import MemErrors, MemSyncError

MEDIA_TYPE = "application/problem+json"

# What a client can do about an error of memsync: change the request, or try again.
_STATUS = {
    MemErrors.ERR_USAGE: 400,
    MemErrors.ERR_UPDATE: 422,
    MemErrors.ERR_NOT_SERIALIZABLE: 422,
    MemErrors.ERR_TOO_LARGE: 413,
    MemErrors.ERR_READ_ONLY: 403,
    MemErrors.ERR_MAX_WRITERS: 403,
    MemErrors.ERR_CONFLICT: 409,
    MemErrors.ERR_CONDITION: 409,
    MemErrors.ERR_QUEUE_FULL: 503,
    MemErrors.ERR_LOCK_TIMEOUT: 503,
    MemErrors.ERR_LOCK_LOST: 503,
    MemErrors.ERR_NOT_STARTED: 503,
    MemErrors.ERR_WRITE_TIMEOUT: 504,
    MemErrors.ERR_WRITE_CONCERN: 504,
}


class Problem(Exception):
    """What is wrong with a request, as its answer says it."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        self.fields = fields

    def response(self) -> Response:
        """The answer."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": str(self),
            **self.fields,
        }
        return Response(bytes(encoded_json(body)), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: MemSyncError) -> Problem:
    """The answer to a request whose call of memsync has failed.

    >>> from memsync import UpdateError
    >>> problem_of(UpdateError("unknown operator '$frob'")).status
    422
    """
    status = _STATUS.get(error.code, 500)
    headers = {"Retry-After": "1"} if status == 503 else {}
    return Problem(status, str(error.code), str(error), headers, outcome=error.outcome)
