"""The page for people: files of the package, which need nothing else."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from .served import tag_of

_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "source.js": "text/javascript; charset=utf-8",
    "tree.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def is_page(path: str) -> bool:
    """Whether a path is a file of the page, which anybody may have: it holds no data."""
    return path.startswith("/static/") and path.removeprefix("/static/") in _TYPES


def wants_page(request: Request) -> bool:
    """Whether it is a browser that asks for ``/``."""
    return "text/html" in request.headers.get("accept", "") and not request.scope["query_string"]


def file(name: str, known: frozenset[str] | None) -> Response:
    """The answer with a file of the page."""
    body, tag = _content(name)
    if known is not None and (tag in known or "*" in known):
        response = Response(status_code=304)
    else:
        response = Response(body, headers={"Content-Type": _TYPES[name]})
    response.headers["etag"] = tag
    response.headers["vary"] = "Accept"
    response.headers["content-security-policy"] = _POLICY
    return response


@cache
def _content(name: str) -> tuple[bytes, str]:
    body = files(__package__).joinpath("static", name).read_bytes()
    return body, tag_of(body)
