"""Who may ask: names of hosts, origins of browsers, and the bearer token.

A web page can make a browser send requests to a port of this machine. It cannot choose the header
``Host`` (a rebound DNS name stays in it) nor ``Origin``, so both are checked. No answer allows
other origins to read it.
"""

from __future__ import annotations

import hmac
import ipaddress
import re

from starlette.datastructures import Headers

from ..errors import OptionsError
from ..options.schema import ServerOptions
from .problems import Problem

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


class Access:
    """The rules of one server; the methods raise `Problem`."""

    def __init__(self, options: ServerOptions) -> None:
        self._names = {"localhost", options.host.lower(), *map(str.lower, options.allowed_hosts)}
        self._any_address = _is_wildcard(options.host)
        self.token = options.token
        self._expected = (options.token or "").encode()

    def check_host(self, headers: Headers) -> None:
        """Refuse a request that was meant for another host, or that another site has made."""
        host = headers.get("host", "")
        match = _HOST.fullmatch(host)
        if match is None or not self._is_own(match[1].strip("[]").lower()):
            raise Problem(
                421,
                "ERR_HOST",
                f"this server is not {host!r:.80}: ask for localhost, or add the name to "
                "server.allowedHosts",
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Problem(
                403, "ERR_ORIGIN", f"pages of {origin!r:.80} may not use this server (CORS is off)"
            )

    def check_token(self, headers: Headers) -> None:
        """Refuse a request without the bearer token, if there is one."""
        if self.token is None:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("latin-1"), self._expected)
        if scheme.lower() != "bearer" or not is_right:
            raise Problem(
                401,
                "ERR_AUTH",
                "send the bearer token of this server: 'Authorization: Bearer ...'",
                {"WWW-Authenticate": 'Bearer realm="memsync"'},
            )

    def _is_own(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address or address.is_loopback


def check_options(options: ServerOptions) -> None:
    """Raise `OptionsError` where the options contradict each other."""
    token = options.token
    if token is not None and not _TOKEN.fullmatch(token):
        raise OptionsError(
            "server.token: expected one or more of A-Z a-z 0-9 . _ ~ + / = -, which a header "
            "'Authorization: Bearer ...' can carry",
            key="server.token",
        )
    for name in options.allowed_hosts:
        _check_name(name)
    if options.write and token is None:
        raise OptionsError(
            "server.write needs a server.token: without one, every program of this machine could "
            "write",
            key="server.write",
        )


def _check_name(name: str) -> None:
    """Refuse what the header ``Host`` of no request can match."""
    if _NAME.fullmatch(name):
        return
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise OptionsError(
            f"server.allowedHosts: {name!r:.80} is no name of a host: write it without a port, "
            "brackets and wildcards, like 'example.com'",
            key="server.allowedHosts",
        ) from None


def is_open(options: ServerOptions) -> bool:
    """Whether other machines can read the object without a token."""
    if options.token is not None or options.host.lower() == "localhost":
        return False
    try:
        return not ipaddress.ip_address(options.host).is_loopback
    except ValueError:
        return True


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
