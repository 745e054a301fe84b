"""The environment of a shell may be that of a service: commands take no part of its work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.cli.demo.run import run
from memsync.cli.group import joined

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("helpers")]

NAME = "service"

SERVICE = {
    "MEMSYNC_SERVER_PORT": "0",
    "MEMSYNC_SERVER_TOKEN": "secret",
    "MEMSYNC_SERVER_WRITE": "true",
    "MEMSYNC_SERVER_ONLY": "true",
    "MEMSYNC_PEER_ROLES": "[writer]",
    "MEMSYNC_NETWORK_MAX_WRITERS": "1",
}


def test_a_command_that_joins_only_reads(
    mem: MemSync[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = MemSync[Any](NAME)
    for variable, value in SERVICE.items():
        monkeypatch.setenv(variable, value)
    with joined(NAME) as reader:
        assert reader.get_status()["server"] is None
        assert [peer["roles"] for peer in mem.peers] == [[]]
        with other:  # the group has no limit
            other.patch({"$inc": {"n": 1}})
        assert mem.get_status()["status"] == "host"


def test_the_demo_has_an_object_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    for variable, value in SERVICE.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("MEMSYNC_FILE_PATH", str(path))
    monkeypatch.setenv("MEMSYNC_FILE_JOURNAL", "true")
    assert run(2, 10, lambda text: None)
    assert not list(tmp_path.iterdir())
