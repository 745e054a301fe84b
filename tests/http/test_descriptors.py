"""Clients cannot take all descriptors: the group and the program need some."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from memsync.testing import Cluster, until

from .client import address_of, fetch, free_port

pytestmark = pytest.mark.process

LIMIT = 128


def _lower(_: Any) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))


def test_a_peer_joins_while_clients_hold_all_connections(cluster: Cluster) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/foo"
    first = cluster.peer({"n": 0}, {"server": {"port": port}}, name="foo")
    first.run(_lower)
    with ExitStack() as stack:
        for _ in range(LIMIT + 20):
            client = stack.enter_context(socket.create_connection(address_of(url), 10))
            with suppress(OSError):  # refused
                client.sendall(b"GET /foo/changes HTTP/1.1\r\nHost: localhost\r\n\r\n")
        second = cluster.peer({"n": 0}, name="foo")
        second.patch({"$inc": {"n": 1}})
        until(lambda: first.snapshot() == {"n": 1})
    until(lambda: fetch(url).status == 200)
