"""The live display of a run, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .demo import Progress


@contextmanager
def progress_display(files: int) -> Iterator[Callable[[Progress], None]]:
    """A function that shows the progress of a run over so many files, if this is a terminal."""
    if not sys.stdout.isatty():
        yield lambda progress: None
        return
    with Live(console=Console(), transient=True, refresh_per_second=8) as live:
        yield lambda progress: live.update(_picture(progress, files))


def _picture(progress: Progress, files: int) -> Table:
    line = Text(f"{progress.done} of {files} files, {progress.words:,} words, ")
    line.append(f"host: process {progress.host}, epoch {progress.epoch}", style="bold")
    picture = Table.grid()
    picture.add_row(ProgressBar(total=files, completed=progress.done))
    picture.add_row(line)
    picture.add_row(_workers(progress))
    return picture


def _workers(progress: Progress) -> Table:
    table = Table("process", "files", "", box=None)
    pids = {*map(int, progress.done_by), *filter(None, (progress.host, progress.killed))}
    for pid in sorted(pids):
        role = "killed" if pid == progress.killed else "host" if pid == progress.host else ""
        table.add_row(str(pid), str(progress.done_by.get(str(pid), 0)), role)
    return table
