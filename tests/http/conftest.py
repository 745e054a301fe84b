from __future__ import annotations

import pytest

from ..process_helpers import start_helpers

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")


@pytest.fixture(autouse=True, scope="session")
def helpers() -> None:
    """Start what multiprocessing keeps until the end before any test looks for leaks."""
    start_helpers()
