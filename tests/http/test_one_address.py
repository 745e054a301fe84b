"""One address that two objects of a process state in two ways: one would stay dark."""

from __future__ import annotations

import pytest

from memsync import MemSync, OptionsError

from .client import address_of, fetch, free_port, url_of

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("first", "second"),
    [("127.0.0.1", "localhost"), ("localhost", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")],
)
def test_another_name_of_the_host_is_refused(first: str, second: str) -> None:
    port = free_port()
    other = MemSync("b", {}, {"server": {"host": second, "port": port}}, engine="memory")
    with MemSync("a", {}, {"server": {"host": first, "port": port}}, engine="memory") as mem:
        with pytest.raises(OptionsError, match=f"server.host = '{first}'"):
            other.start()
        assert fetch(url_of(mem)).json == {}
    with other:
        assert fetch(url_of(other)).json == {}


def test_the_number_of_a_free_port_is_refused() -> None:
    with MemSync("a", {}, {"server": {"port": 0}}, engine="memory") as mem:
        port = address_of(url_of(mem))[1]
        with pytest.raises(OptionsError, match=r"server\.port = 0: state the same"):
            MemSync("b", {}, {"server": {"port": port}}, engine="memory").start()


def test_another_address_is_another_server() -> None:
    port = free_port()
    options = [{"server": {"host": host, "port": port}} for host in ("127.0.0.1", "127.0.0.2")]
    with (
        MemSync("a", {}, options[0], engine="memory") as a,
        MemSync("b", {}, options[1], engine="memory") as b,
    ):
        assert fetch(url_of(a)).json == fetch(url_of(b)).json == {}
