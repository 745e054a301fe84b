"""The rendezvous file: missing, damaged, or of another protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memsync import MemErrors, MemSync, ProtocolError, RendezvousError, UsageError
from memsync.manager import MemSyncManager
from memsync.testing import NAME, Cluster, until

from .folder_helpers import rendezvous

pytestmark = pytest.mark.process


def locatable() -> bool:
    """Whether a plain manager would find the host."""
    try:
        MemSyncManager.locate(NAME)
    except RendezvousError:
        return False
    return True


GARBAGE = [b"", b"\0" * 50, b"{", b"[1, 2]", b"\xff\xfe", b'{"protocol": 1}', b"null", b"[" * 5000]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_damaged_rendezvous_is_refused_by_locate_until_a_start_heals_it(
    folder: Path, garbage: bytes
) -> None:
    with MemSync[Any](NAME, {"n": 1}) as mem:
        address, key = MemSyncManager.locate(NAME)
        assert str(folder) in str(address)
        assert len(key) == 32
    rendezvous(folder).write_bytes(garbage)
    with pytest.raises(RendezvousError, match=r"damaged.*delete") as caught:
        MemSyncManager.locate(NAME)
    assert str(rendezvous(folder)) in str(caught.value)
    assert (caught.value.code, caught.value.outcome) == (MemErrors.ERR_RENDEZVOUS, "not_applied")
    assert mem.start() == "host"
    assert mem.snapshot() == {"n": 1}
    assert locatable()
    mem.stop()


def test_a_living_host_mends_its_rendezvous_and_newcomers_do_not_need_it(
    cluster: Cluster, folder: Path
) -> None:
    cluster.peer({"marker": "original"})
    for garbage in (b"garbage", None):
        if garbage is None:
            rendezvous(folder).unlink()
        else:
            rendezvous(folder).write_bytes(garbage)
        newcomer = cluster.peer({"marker": "newcomer"})
        assert newcomer.snapshot() == {"marker": "original"}
        until(locatable)


def test_locate_without_a_host_says_so() -> None:
    with pytest.raises(RendezvousError, match="MEMSYNC_DIR"):
        MemSyncManager.locate("nobody")
    with MemSync("somebody"):
        pass
    with pytest.raises(RendezvousError, match="MEMSYNC_DIR"):
        MemSyncManager.locate("somebody")
    with pytest.raises(UsageError):
        MemSyncManager.locate("a/b")


def test_a_rendezvous_of_another_protocol_is_named_by_locate(folder: Path) -> None:
    with MemSync(NAME):
        content = json.loads(rendezvous(folder).read_bytes())
    content["protocol"] = 99
    rendezvous(folder).write_text(json.dumps(content))
    with pytest.raises(ProtocolError, match="99"):
        MemSyncManager.locate(NAME)
