"""What the tests share that run with each engine."""

from __future__ import annotations

import pytest

ENGINES = ["local", "memory"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine."""
    name: str = request.param
    return name
