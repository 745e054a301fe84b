"""The pytest plugin of memsync: fixtures for tests of programs that use it (docs/testing.md).

pytest loads this module in every run in which memsync is installed. Therefore the fixtures import
what they need when they are used, and `memsync` and `memsync.testing` import their names lazily.
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
    ) -> Cluster:
        """Start `number` peers of one object."""


@pytest.fixture
def memsync_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A rendezvous folder of the test's own, named by MEMSYNC_DIR; other MEMSYNC_ variables are
    unset. Afterwards handles left in it are stopped and the folder and its witnesses are removed.
    """
    from .temporary_folder import private_folder

    for variable in [each for each in os.environ if each.startswith("MEMSYNC_")]:
        monkeypatch.delenv(variable)
    with private_folder() as folder:
        monkeypatch.setenv("MEMSYNC_DIR", str(folder))
        yield folder


@pytest.fixture
def memsync(memsync_folder: Path) -> ModuleType:
    """The module memsync, in a rendezvous folder of the test's own (see memsync_folder)."""
    import memsync

    return memsync


@pytest.fixture
def memsync_cluster(memsync_folder: Path) -> Iterator[StartsClusters]:
    """A function that starts peers in processes of their own: memsync_cluster(3, {"n": 0}).

    It returns a memsync.testing.Cluster: kill_host(), pause(), resume(), stop(), host(), settled(),
    and peers with run(function, ...). All processes are killed when the test ends.
    """
    from ..errors import UsageError
    from .cluster import NAME, Cluster

    is_named = False  # whether one has the name that is given by default
    with ExitStack() as stack:

        def start(
            number: int,
            data: Any = None,
            options: Any = None,
            *,
            name: str | None = None,
            method: str = "forkserver",
        ) -> Cluster:
            nonlocal is_named
            if name is None and is_named:
                raise UsageError(
                    f"this test has a cluster of the object {NAME!r} already: start more peers of "
                    "it with its start(), or give this one a name=... of its own"
                )
            cluster = stack.enter_context(Cluster(name or NAME, method=method))
            cluster.start(number, data, options)
            is_named = is_named or name is None
            return cluster

        yield start
