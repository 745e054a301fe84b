"""Options that name no host are errors of start(), not servers that answer nobody."""

from __future__ import annotations

import pytest

from memsync import MemSync, OptionsError

from .client import fetch, url_of

pytestmark = pytest.mark.process


def started(**server: object) -> MemSync[object]:
    return MemSync("foo", {"n": 0}, {"server": {"port": 0, **server}}, engine="memory")


@pytest.mark.parametrize(
    "host",
    [
        "a" * 70,
        "a..b",
        "a.",
        "\u20ac" * 40,
        "localhost:80",
        "",
    ],
)
def test_a_host_that_cannot_be_is_an_error_of_options(host: str) -> None:
    with pytest.raises(OptionsError, match=r"server\.port = 0 on .* cannot listen there"):
        started(host=host).start()


@pytest.mark.parametrize("name", ["a:80", "*", "*.example.com", "[::1]", "http://a", "", "a b"])
def test_a_name_that_no_request_has_is_refused(name: str) -> None:
    with pytest.raises(OptionsError, match=r"server\.allowedHosts: .* is no name of a host"):
        started(allowedHosts=["good.example", name]).start()


@pytest.mark.parametrize(
    ("name", "header"),
    [("A.example", "a.EXAMPLE:1"), ("10.0.0.1", "10.0.0.1"), ("fe80::1", "[fe80::1]:80")],
)
def test_other_names_are_served(name: str, header: str) -> None:
    with started(allowedHosts=[name]) as mem:
        assert fetch(url_of(mem), {"Host": header}).json == {"n": 0}
