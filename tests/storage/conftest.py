"""What the tests of storage share."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..process_helpers import start_helpers


@pytest.fixture(autouse=True, scope="session")
def helpers() -> None:
    """Start what multiprocessing keeps until the end before any test looks for leaks."""
    start_helpers()


@pytest.fixture
def own_rendezvous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of a common name meets no other one, of another test process."""
    monkeypatch.setenv("MEMSYNC_DIR", str(tmp_path / "rendezvous"))


@pytest.fixture(params=["local", "memory"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the object is kept."""
    return tmp_path / "state.json"
