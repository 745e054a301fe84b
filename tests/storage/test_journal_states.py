"""Whatever the system loses in a crash, the journal loads, and no journalled write is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from memsync.storage import journal_end
from memsync.storage.journal import Journal
from memsync.storage.journal_folder import JournalFolder
from memsync.storage.segment_writer import SegmentWriter

from .crash_states import RecordingFiles
from .journal_states import check

SEEDS = range(150)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The record has hundreds of failures, each of which is logged."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def faults(files: type[RecordingFiles] = RecordingFiles, seeds: Iterable[int] = SEEDS) -> list[str]:
    return [wrong for seed in seeds for wrong in check(seed, files=files)]


def test_no_journalled_write_is_missing_after_a_crash() -> None:
    assert faults() == []


class WithoutSync(RecordingFiles):
    def sync(self, descriptor: int) -> None:
        pass


class WithoutFolderSync(RecordingFiles):
    def sync_folder(self, path: str) -> None:
        pass


@pytest.mark.parametrize("files", [WithoutSync, WithoutFolderSync])
def test_the_check_finds_a_layer_that_is_not_safe(files: type[RecordingFiles]) -> None:
    assert faults(files) != []


def test_the_check_finds_a_segment_that_is_used_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next sync of the same file succeeds, and what the failed one dropped is gone."""

    def sync(self: SegmentWriter) -> None:
        try:
            self._files.sync(self._descriptor)
        except OSError:
            self._files.sync_folder("/nowhere")  # so it goes on, as if it had been synced

    monkeypatch.setattr(SegmentWriter, "sync", sync)
    assert faults() != []


def test_the_check_finds_a_gap_that_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "_begin_at", lambda self, pair: None)
    assert faults() != []


def test_the_check_finds_a_file_that_the_history_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last host has saved what no survivor has; its successor counts before its first save."""
    monkeypatch.setattr(JournalFolder, "contains", lambda self, pair: True)
    monkeypatch.setattr(journal_end, "_is_held", lambda held, pair: True)
    assert faults(seeds=range(240, 265)) != []


def test_the_check_finds_a_host_that_goes_on_behind_lines_without_a_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held_lines = journal_end._held_lines

    def last_line(*arguments: Any) -> Any:
        folder, at, held = arguments
        lines = [each for each in folder.lines(at) if each.synced is None]
        for line in reversed(lines):
            if held.epoch_at(line.version) == line.epoch:
                return journal_end.Joint(line.pair, int(line.crc, 16), counts=True)
        return held_lines(*arguments)

    monkeypatch.setattr(journal_end, "_held_lines", last_line)
    assert faults() != []
