"""The pytest plugin of memsync: fixtures for tests of programs that use it (docs/testing.md).

pytest loads this module wherever memsync is installed, so each fixture imports what it needs when
it is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from .cluster import Cluster


class StartsClusters(Protocol):
    """The type of the fixture `memsync_cluster`, for annotations."""

    def __call__(
        self,
        number: int,
        data: Any = None,
        options: Any = None,
        *,
        name: str | None = ...,
        method: str = ...,
        rpc: Any = ...,
    ) -> Cluster:
        """Start `number` peers of one object."""


@pytest.fixture
def memsync_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private rendezvous folder, named by MEMSYNC_DIR; other MEMSYNC_ variables are unset.
    Afterwards, handles left in it are stopped, and the folder and its witnesses are removed.
    """
    from .temporary_folder import private_folder

    for variable in [each for each in os.environ if each.startswith("MEMSYNC_")]:
        monkeypatch.delenv(variable)
    with private_folder() as folder:
        monkeypatch.setenv("MEMSYNC_DIR", str(folder))
        yield folder


@pytest.fixture
def memsync(memsync_folder: Path) -> ModuleType:
    """The module memsync, with a private rendezvous folder (see memsync_folder)."""
    import memsync

    return memsync


@pytest.fixture
def memsync_cluster(memsync_folder: Path) -> Iterator[StartsClusters]:
    """A function that starts peers in processes of their own: memsync_cluster(3, {"n": 0}).

    It returns a memsync.testing.Cluster with kill_host(), pause(), resume(), stop(), host(),
    settled(), and peers with run(function, ...). The end of the test kills all processes.
    """
    from ..errors import UsageError
    from .cluster import NAME, Cluster

    is_named = False  # whether a cluster has the default name
    with ExitStack() as stack:

        def start(
            number: int,
            data: Any = None,
            options: Any = None,
            *,
            name: str | None = None,
            method: str = "forkserver",
            rpc: Any = None,
        ) -> Cluster:
            nonlocal is_named
            if name is None and is_named:
                raise UsageError(
                    f"this test has a cluster of the object {NAME!r} already: start more peers "
                    "with its start(), or pass name=... for another object"
                )
            cluster = stack.enter_context(Cluster(name or NAME, method=method))
            cluster.start(number, data, options, rpc=rpc)
            is_named = is_named or name is None
            return cluster

        yield start
