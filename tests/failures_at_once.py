"""A pytest plugin that names each failed test as soon as it has failed, not at the end of the run.

It also works where pytest-xdist runs the tests side by side: the process that reports has it.
"""

from __future__ import annotations

import pytest

MAX_LINES = 5  # of the error; the whole of it stands at the end of the output


class FailuresAtOnce:
    """Writes the name of a failed test and the start of its error to the terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Asked for only now: pytest registers it after the plugins of a `conftest.py`.
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None or not report.failed:
            return
        terminal.write("\n")  # after the letters of other tests
        during = "" if report.when == "call" else f" (in its {report.when})"
        terminal.write_line(f"FAILED NOW: {report.nodeid}{during}", red=True)
        for line in _error_of(report).splitlines()[:MAX_LINES]:
            terminal.write_line(f"    {line}")
        terminal.flush()


def register(config: pytest.Config) -> None:
    """Register the plugin in the process that writes to the terminal."""
    if not hasattr(config, "workerinput"):  # of a worker of pytest-xdist
        config.pluginmanager.register(FailuresAtOnce(config), "failures-at-once")


def _error_of(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash) if crash is not None else report.longreprtext
