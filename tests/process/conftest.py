"""What the tests with real processes share."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest

from ..process_helpers import start_helpers

collect_ignore = ["loky_cases.py"]  # it needs what test_loky_suite.py fetches

WAYS = ("auto", "poll", "none")


@pytest.fixture(autouse=True, scope="session")
def helpers() -> None:
    """Start what multiprocessing keeps until the end before any test looks for leaks."""
    start_helpers()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `watched` in each way of watching the folder.

    Mostly a file event changes nothing but how soon something happens. Such a test runs in the
    default way everywhere, in one of the other ways as slow, and in the last way as rare. A test
    about events runs in each way everywhere: ``watched(everywhere=True)``.
    """
    marks = list(metafunc.definition.iter_markers("watched"))
    if not marks:
        return
    others: list[Any] = list(WAYS[1:])
    if not any(mark.kwargs.get("everywhere") for mark in marks):
        # By its name, so that a test keeps its way when others come and go.
        turn = zlib.crc32(metafunc.definition.name.encode()) % 2
        often, seldom = others[turn], others[1 - turn]
        others = [
            pytest.param(often, marks=pytest.mark.slow),
            pytest.param(seldom, marks=pytest.mark.rare),
        ]
    metafunc.parametrize("way_of_watching", [WAYS[0], *others], indirect=True)


@pytest.fixture(autouse=True)
def way_of_watching(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> str | None:
    """The way that all peers of the test watch the folder, if it is run in several."""
    way: str | None = getattr(request, "param", None)
    if way is not None:
        monkeypatch.setenv("MEMSYNC_NETWORK_WATCH", way)
    return way
