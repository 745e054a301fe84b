"""Fixtures of the tests that run commands as programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync

from ..process_helpers import start_helpers


@pytest.fixture(scope="module")
def helpers() -> None:
    """Start the helper process of multiprocessing before any test looks for leaks."""
    start_helpers()


@pytest.fixture
def mem(folder: Path, request: pytest.FixtureRequest) -> Iterator[MemSync[Any]]:
    """A handle of the object of the module, ``NAME``; in it is ``n``."""
    with MemSync[Any](request.module.NAME, {"n": 0}) as mem:
        yield mem
