"""What the tests of pools share: the processes that multiprocessing keeps are no leaks."""

from __future__ import annotations

from ..process.conftest import helpers as helpers
