"""The ASGI application: which request gets which answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..clocks import monotonic
from ..document import encoded_json
from ..errors import MemSyncError
from ..runtime.logs import Logger
from .access import Access
from .background import in_thread
from .conditions import past_version, tags, wait_seconds
from .feed import Feed
from .group import status_of
from .metrics import CONTENT_TYPE_LATEST, Figures, Metrics
from .openapi import document
from .page import file, is_page, wants_page
from .problems import Problem, problem_of
from .served import Gone, Part, Served
from .streams import EventStream, parse_since
from .target import Target, bad_request, decoded, parse_target, take_authority
from .writes import Writes

log = Logger("memsync.http")

SERVICE = "memsync"
"""What ``/healthz`` calls this service, so that processes of memsync know each other's servers."""

# A page may show what it gets from here, and nothing from elsewhere; nobody may frame it.
_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
AT_A_TIME = 2  # older versions, which take a thread and time
_OPEN = ("/healthz", "/readyz")  # without the token


class Objects(Protocol):
    """The objects of one server."""

    def find(self, name: str) -> Served | None:
        """The object with this name, if it is served."""

    def all(self) -> list[Served]:
        """All objects, sorted by their names."""

    def connections(self) -> int:
        """How many connections are open."""


class App:
    """Answers the requests of one server."""

    def __init__(self, objects: Objects, access: Access, *, write: bool) -> None:
        self._objects = objects
        self._access = access
        self._document = partial(document, token=access.token is not None, write=write)
        self._figures = Figures()
        self._metrics = Metrics(self._figures, objects.all, objects.connections, self._streams)
        self._writes = Writes()
        self._looking_back = asyncio.Semaphore(AT_A_TIME)
        self._feeds: WeakKeyDictionary[Served, Feed] = WeakKeyDictionary()
        self._fixed: dict[str, Callable[[], Response]] = {
            "/": self._index,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._scrape,
            "/openapi.json": self._openapi,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises for what a client does."""
        request = Request(scope, receive)
        begin = monotonic()
        try:
            response = await self._response(request)
        except Problem as problem:
            response = problem.response()
        except MemSyncError as error:
            response = problem_of(error).response()
        except Exception:
            log.exception("a request failed path=%.200s", request.scope["path"])
            response = Problem(500, "ERR_INTERNAL", "memsync failed, see its log").response()
        _add_headers(response)
        has_waited = isinstance(response, EventStream) or "memsync.waited" in scope
        self._figures.add(response.status_code, None if has_waited else monotonic() - begin)
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        scope = request.scope
        take_authority(scope)
        path, headers = scope["path"], request.headers
        self._access.check_host(headers)
        if not path.startswith("/"):  # '*', or a URL of another scheme
            raise bad_request(f"{path!r:.80} is no path of this server: write it like '/name/a/0'")
        if is_page(path) or (path == "/" and wants_page(request)):
            _allow(request, "GET", "HEAD")
            return file(
                path.removeprefix("/static/").strip("/") or "index.html",
                tags(headers, "if-none-match"),
            )
        if path not in _OPEN:
            self._access.check_token(headers)
        fixed = self._fixed.get(path)
        if fixed is not None:
            _allow(request, "GET", "HEAD")
            return fixed()
        raw: bytes = scope.get("raw_path") or path.encode()
        served = self._served(raw)
        target = parse_target(raw, scope["query_string"])
        if target.route == "" and request.method == "PATCH":
            return await self._writes.patch(request, served, target)
        _allow(request, "GET", "HEAD", *(["PATCH"] if served.writes and not target.route else []))
        if target.route == "status":
            return _json(await status_of(served, pings="ping" in target.query))
        if target.route == "changes":
            return self._stream(request, served, target)
        return await self._part(request, served, target)

    def _served(self, raw_path: bytes) -> Served:
        """The object of a path; raises `Problem`."""
        name = decoded(raw_path.split(b"/")[1])
        served = self._objects.find(name)
        if served is None:
            names = ", ".join(each.name for each in self._objects.all()) or "none"
            raise Problem(
                404, "ERR_NO_OBJECT", f"no object {name!r:.80} is served here: there are {names}"
            )
        return served

    # -- the object ------------------------------------------------------------------------------

    async def _part(self, request: Request, served: Served, target: Target) -> Response:
        headers = request.headers
        seconds = wait_seconds(headers, target.query.get("wait"))
        known = tags(headers, "if-none-match")
        version = past_version(target.query.get("at"))
        if version is not None:
            if "wait" in target.query:
                raise bad_request("wait and at exclude each other: older versions do not change")
            seconds = 0.0  # a preference may be ignored
            async with self._looking_back:
                part = await in_thread(
                    lambda: served.part_at(target.tokens, version), "memsync-http-at"
                )
        else:
            part = served.part(target.tokens)
        if seconds and _is_known(part, known, waits=True):
            before = None if part is None else part.tag

            def is_same(now: Part | None) -> bool:
                if known is not None and now is not None:
                    return _is_known(now, known, waits=True)
                return (None if now is None else now.tag) == before

            request.scope["memsync.waited"] = True
            async with Gone(request.receive) as gone:
                part = await served.next_part(target.tokens, is_same, seconds, gone)
                known = known or frozenset([before] if before else [])
        if part is None:
            raise no_value(served, target)
        if _is_known(part, known, waits=False):
            response = Response(status_code=304)
        else:
            response = Response(bytes(part.body), media_type="application/json")
        raw = response.raw_headers
        raw.append((b"etag", part.tag.encode()))
        raw.append((b"memsync-version", b"%d-%d" % (part.epoch, part.version)))
        if seconds and "wait" not in target.query:
            raw.append((b"preference-applied", b"wait=%d" % seconds))
        return response

    def _stream(self, request: Request, served: Served, target: Target) -> Response:
        since = parse_since(request.headers.get("last-event-id"), target.query.get("since"))
        served.participant  # noqa: B018  # raises if the peer has stopped
        feed = self._feeds.get(served)
        if feed is None:
            feed = self._feeds[served] = Feed(served, asyncio.get_running_loop())
        return EventStream(served, feed, target.tokens, since)

    # -- the server ------------------------------------------------------------------------------

    def _index(self) -> Response:
        response = _json({"objects": [each.name for each in self._objects.all()]})
        response.headers["vary"] = "Accept"
        return response

    def _scrape(self) -> Response:
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)

    def _openapi(self) -> Response:
        return _json(self._document([each.name for each in self._objects.all()]))

    def _streams(self, served: Served) -> int:
        feed = self._feeds.get(served)
        return 0 if feed is None else feed.streams

    def _healthz(self) -> Response:
        return _json({"service": SERVICE, "status": "ok", "pid": os.getpid()})

    def _readyz(self) -> Response:
        states = {each.name: each.engine.status().status for each in self._objects.all()}
        is_ready = all(state in ("host", "client") for state in states.values()) and states
        body: dict[str, Any] = {"status": "ready" if is_ready else "not ready"}
        if self._access.token is None:
            body["objects"] = states
        response = _json(body)
        response.status_code = 200 if is_ready else 503
        return response


def no_value(served: Served, target: Target) -> Problem:
    """The answer where an object has no value at a path."""
    where = "/".join(target.tokens)
    return Problem(
        404, "ERR_NO_VALUE", f"{served.name!r} has no value at {where!r:.200}", path=where
    )


def _is_known(part: Part | None, known: frozenset[str] | None, *, waits: bool) -> bool:
    """Whether a client has a part; where it waits, it also knows that there is none."""
    if part is None or known is None:
        return waits
    return part.tag in known or "*" in known


def _allow(request: Request, *methods: str) -> None:
    method = request.scope["method"]
    if method not in methods:
        allowed = ", ".join(methods)
        raise Problem(
            405, "ERR_METHOD", f"{method:.20} is not served here: {allowed}", {"Allow": allowed}
        )


def _add_headers(response: Response) -> None:
    raw = response.raw_headers
    present = {name for name, _ in raw}
    raw.extend(header for header in _RAW_HEADERS if header[0] not in present)


def _json(value: Any) -> Response:
    return Response(bytes(encoded_json(value)), media_type="application/json")
