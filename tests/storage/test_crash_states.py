"""G11: whatever the system loses in a crash, the file loads, and no durable save is missing."""

from __future__ import annotations

import pytest

from .crash_states import RecordingFiles, check


def test_g11_every_state_after_a_crash_loads() -> None:
    assert [wrong for seed in range(60) for wrong in check(seed)] == []


class WithoutSync(RecordingFiles):
    def sync(self, descriptor: int) -> None:
        pass


class WithoutFolderSync(RecordingFiles):
    def sync_folder(self, path: str) -> None:
        pass


class InPlace(RecordingFiles):
    """Writes to the file itself."""

    def create(self, path: str, mode: int) -> int:
        return super().create("/nowhere/state.json", mode)

    def replace(self, old: str, new: str) -> None:
        pass


@pytest.mark.parametrize("files", [WithoutSync, WithoutFolderSync, InPlace])
def test_the_check_finds_a_save_that_is_not_safe(files: type[RecordingFiles]) -> None:
    assert [wrong for seed in range(60) for wrong in check(seed, files=files)] != []
