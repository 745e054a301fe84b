"""A mistake in the options of the server is refused before the peer founds or joins anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, OptionsError
from memsync.testing import Cluster

from .client import fetch, free_port, url_of

pytestmark = pytest.mark.process

MISTAKES = [
    ("foo", {"write": True}, r"server\.write needs"),
    ("foo", {"token": "a b"}, r"server\.token: expected"),
    ("foo", {"allowedHosts": ["a:1"]}, r"server\.allowedHosts"),
    ("metrics", {}, "route /metrics"),
]


@pytest.mark.parametrize(("name", "options", "message"), MISTAKES)
def test_no_object_is_founded(
    cluster: Cluster, tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    file = {"path": tmp_path / "state.json"}
    mem = MemSync(name, {"n": 1}, {"file": file, "server": {"port": 0, **options}})
    for _ in range(2):
        with pytest.raises(OptionsError, match=message):
            mem.start()
    assert mem.get_status()["status"] == "stopped"
    assert not list(tmp_path.iterdir())


def test_no_running_group_is_joined(cluster: Cluster) -> None:
    with MemSync[Any]("foo", {"n": 1}) as mem:
        before = mem.epoch, mem.version
        options = {"serverOnly": True, "server": {"port": 0, "write": True}}
        with pytest.raises(OptionsError, match=r"server\.write needs"):
            MemSync("foo", {}, options).start()
        assert (mem.epoch, mem.version) == before


def test_another_object_of_the_process_with_other_rules(cluster: Cluster, tmp_path: Path) -> None:
    port = free_port()
    file = {"path": tmp_path / "state.json"}
    second = MemSync("second", {}, {"file": file, "server": {"port": port, "token": "t"}})
    with MemSync("first", {"n": 1}, {"server": {"port": port}}) as first:
        with pytest.raises(OptionsError, match="'second' differ"):
            second.start()
        assert not list(tmp_path.iterdir())
        assert fetch(url_of(first)).json == {"n": 1}


def test_the_memory_engine_too() -> None:
    mem = MemSync("foo", {}, {"server": {"port": 0, "write": True}}, engine="memory")
    for _ in range(2):
        with pytest.raises(OptionsError, match=r"server\.write needs"):
            mem.start()
    with MemSync("foo", {"n": 1}, engine="memory") as other:  # nobody has founded it
        assert other.snapshot() == {"n": 1}
