from __future__ import annotations

import pytest

from memsync import shared_peer

from ..process_helpers import start_helpers

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")


@pytest.fixture(autouse=True, scope="session")
def helpers() -> None:
    """Start what multiprocessing keeps until the end before any test looks for leaks."""
    start_helpers()


@pytest.fixture
def patient_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a server cuts nothing off: open answers end by themselves, or it takes minutes."""
    from memsync.http import server

    monkeypatch.setattr(server, "END_SECONDS", 120.0)
    monkeypatch.setattr(shared_peer, "SERVING_GRACE", 30.0)
