"""Which object, route and part a request names."""

from __future__ import annotations

import pytest

from memsync.http.problems import Problem
from memsync.http.target import parse_target


@pytest.mark.parametrize(
    ("path", "query", "route", "tokens"),
    [
        (b"/foo", b"", "", ()),
        (b"/foo/", b"", "", ()),
        (b"/foo/a/b/0", b"", "", ("a", "b", "0")),
        (b"/foo/a.b", b"", "", ("a.b",)),
        (b"/foo/a%2Fb/%7E", b"", "", ("a/b", "~")),
        (b"/foo/%C3%A9/caf%c3%a9", b"", "", ("é", "café")),
        (b"/foo//x", b"", "", ("", "x")),
        (b"/foo/a+b", b"", "", ("a+b",)),
        (b"/foo/status", b"", "status", ()),
        (b"/foo/status/", b"", "status", ()),
        (b"/foo/jobs/status", b"", "", ("jobs", "status")),
        (b"/foo/changes", b"", "changes", ()),
        (b"/foo/jobs/changes", b"since=1-2", "changes", ("jobs",)),
        (b"/foo/changes/0", b"", "", ("changes", "0")),
        (b"/foo", b"path=/status", "", ("status",)),
        (b"/foo/a", b"path=/changes", "", ("a", "changes")),
        (b"/foo", b"path=/a~1b/~0~01", "", ("a/b", "~~1")),
        (b"/foo", b"path=/", "", ("",)),
        (b"/foo", b"path=%2Fa%2Fb", "", ("a", "b")),
    ],
)
def test_a_path_names_a_part(path: bytes, query: bytes, route: str, tokens: object) -> None:
    target = parse_target(path, query)
    assert (target.name, target.route, target.tokens) == ("foo", route, tokens)


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        (b"/foo/%", b"", "'%25'"),
        (b"/foo/%zz", b"", "'%25'"),
        (b"/foo/%ff", b"", "UTF-8"),
        (b"/foo/%ed%a0%80", b"", "UTF-8"),
        (b"/foo" + b"/a" * 101, b"", "101 parts"),
        (b"/foo", b"path=a", "'/a/b/0'"),
        (b"/foo", b"path=/~2", "'/a/b/0'"),
        (b"/foo", b"wait=1&wait=2", "twice"),
        (b"/foo", b"waits=1", "choose from at, path, wait"),
        (b"/foo/changes", b"wait=1", "choose from path, since"),
        (b"/foo/status", b"wait=1", "choose from ping"),
        (b"/foo", b"path=%ff", "UTF-8"),
        (b"/foo", b"path=%", "UTF-8"),
        (b"/foo", b"&".join(b"a%d=1" % n for n in range(99)), "query"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_place(
    path: bytes, query: bytes, said: str
) -> None:
    with pytest.raises(Problem) as caught:
        parse_target(path, query)
    assert caught.value.status == 400
    assert said in str(caught.value)
