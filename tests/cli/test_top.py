"""``memsync top``: its page, at any size, and over the death of the host."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.cli.cells import width
from memsync.cli.commands.top import Meter
from memsync.cli.duration import duration
from memsync.cli.page import page, sparkline
from memsync.testing import Cluster, until

from .command import on_terminal, run, run_json

pytestmark = pytest.mark.usefixtures("helpers")

NAME = "shown"


MEMBER = {"pid": 10, "roles": ["writer"], "methods": ["add"]}
HOLDER = {"id": "b" * 16, "pid": 11, "since": 0.0, "token": 1, "lease": None}
FACTS: dict[str, Any] = {
    "name": "shop",
    "host": "a" * 16,
    "epoch": 3,
    "version": 1234,
    "founded": 0.0,
    "members": [{**MEMBER, "id": "a" * 16}, {**MEMBER, "id": "b" * 16, "roles": [], "pid": 11}],
    "published": [],
    "locks": {"reindex": {"places": 1, "holders": [HOLDER], "queue": [{"id": "a", "pid": 10}]}},
    "recent": [{"version": 1234, "peer": "b" * 16, "text": "replace /n 7"}],
}


def test_the_page_has_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memsync.cli.page.wall", lambda: 273_600.0)
    shown = page(FACTS, [0, 5, 10], 80, 24)
    text = "\n".join(shown)
    assert shown[0] == "shop: host aaaaaaaa (process 10), 2 peers"
    assert shown[1] == "epoch 3  version 1234  age 3d4h"
    assert shown[2] == "writes/s      10  ▁▅█"
    assert re.search(r"^a{16}  10   host  writer  add$", text, re.MULTILINE)
    assert re.search(r"^b{16}  11 +-  +add$", text, re.MULTILINE)
    assert re.search(r"^reindex  11  +3d4h +1$", text, re.MULTILINE)
    assert "    1234  bbbbbbbb  replace /n 7" in text


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (20, 5), (200, 60), (1, 1)])
@pytest.mark.parametrize("count", [1, 30])
def test_the_page_fits(size: tuple[int, int], count: int) -> None:
    columns, lines = size
    many = {
        "members": FACTS["members"] * count,
        "locks": {f"lock-{n}": FACTS["locks"]["reindex"] for n in range(count)},
        "recent": [{**FACTS["recent"][0], "text": "x" * 300}] * count,
    }
    shown = page({**FACTS, **many}, [1.0] * 300, columns, lines)
    assert len(shown) <= lines
    assert all(len(line) <= columns for line in shown)


def test_a_long_list_says_how_much_is_left_out() -> None:
    shown = page({**FACTS, "members": FACTS["members"] * 30}, [], 80, 24)
    more = next(line for line in shown if "more" in line)
    listed = sum(line.startswith(("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb")) for line in shown)
    assert more == f"... and {60 - listed} more"


def test_without_a_host_the_page_says_so() -> None:
    assert "no host answers" in page({**FACTS, "host": None}, [], 80, 24)[0]


@pytest.mark.parametrize(
    ("rates", "shown"), [([], ""), ([0.0], "▁"), ([0, 0, 7], "▁▁█"), ([1] * 50, "█" * 10)]
)
def test_the_sparkline(rates: list[float], shown: str) -> None:
    assert sparkline(rates, 10) == shown


def test_the_meter_counts_versions() -> None:
    meter = Meter()
    assert [meter.note(*each) for each in [(1, 10), (2, 30), (4, 30), (5, 20)]] == [
        None,
        20,
        0,
        0,
    ]


def test_durations() -> None:
    assert [duration(each) for each in (0, 59.9, 61, 3600, 90061)] == [
        "0s",
        "59s",
        "1m1s",
        "1h",
        "1d1h",
    ]


@pytest.mark.process
def test_one_page(folder: Path) -> None:
    with MemSync[Any](NAME, {"n": 0}, rpc={"f": len}) as mem, mem.lock("l"):
        version = mem.patch({"$inc": {"n": 1}})
        ended = run("top", NAME, "--once")
        assert (ended.status, ended.err) == (0, "")
        assert f"{NAME}: host {mem.id[:8]} (process {os.getpid()}), 1 peer\n" in ended.out
        assert "replace /n 1" in ended.out
        [facts] = run_json("top", NAME, "--once")
        assert facts["recent"][0]["version"] == version
        assert run("top", NAME, "--interval", "0").status == 2


@pytest.mark.process
def test_top_goes_on_when_the_host_is_killed(cluster: Cluster) -> None:
    host, other = cluster.peer({"n": 0}), cluster.peer()
    with on_terminal("top", cluster.name, "--interval", "0.1") as (process, terminal):
        text = ""

        def shows(what: str) -> bool:
            nonlocal text
            text += os.read(terminal, 1 << 16).decode(errors="replace")
            return what in text

        until(lambda: shows(f"(process {host.pid})"), 20, "it does not show the host")
        host.kill()
        until(lambda: shows(f"(process {other.pid})"), 20, "it does not show the next host")
        os.write(terminal, b"q")
        until(lambda: shows("\x1b[?1049l"), 20, "it does not end")
        assert process.wait(timeout=20) == 0


def test_names_and_values_do_not_move_the_cursor() -> None:
    odd = "x\x1b[2J\n\u202e日本" + "語" * 50
    facts = {
        **FACTS,
        "locks": {odd: {"places": 1, "holders": [HOLDER], "queue": []}},
        "members": [{**MEMBER, "id": "a" * 16, "methods": [odd, odd]}],
        "recent": [{"version": 7, "peer": "b" * 16, "text": f"add /{odd} 1"}],
    }
    shown = page(facts, [1.0], 80, 24)
    assert all(line.isprintable() and width(line) <= 80 for line in shown)
    assert any(re.match(r"x\\x1b\[2J\\n\\u202e日本語+ +11 ", line) for line in shown)
