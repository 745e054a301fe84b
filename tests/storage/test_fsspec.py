"""The object at a URL that fsspec knows: a file system of the tests, in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.errors import StorageError

pytest.importorskip("fsspec")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"local://{tmp_path}/state.json"


def handle(url: str, fencing: str = "off") -> MemSync[Any]:
    return MemSync("kept", {"n": 0}, {"file": {"path": url, "fencing": fencing}})


def test_it_is_refused_unless_the_program_accepts_that_there_is_no_fence(url: str) -> None:
    with pytest.raises(StorageError, match=r"accept it with file\.fencing: off"):
        handle(url, fencing="required").start()


def test_the_object_outlives_its_processes(url: str, tmp_path: Path) -> None:
    for number in range(1, 3):
        with handle(url) as mem:
            mem.patch({"$inc": {"n": 1}})
            mem.flush()
            assert mem.get_status()["storage"]["fencing"] == "none"
        assert json.loads((tmp_path / "state.json").read_text())["data"] == {"n": number}


def test_an_unreadable_file_stops_the_start(url: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("no")
    with pytest.raises(StorageError, match="it is not JSON"):
        handle(url).start()


@pytest.mark.parametrize("url", ["nowhere://a/b.json", "x+y://a"])
def test_a_scheme_that_nothing_knows(url: str) -> None:
    with pytest.raises(StorageError, match=url.partition(":")[0].replace("+", r"\+")):
        handle(url).start()
