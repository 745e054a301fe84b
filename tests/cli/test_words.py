"""Which files are counted, and what a word is."""

from __future__ import annotations

import os
import stat
import sysconfig
from pathlib import Path

import pytest
from demo_runs import NASTY_FILES, make_nasty_tree

from memsync import MemSync
from memsync.cli.words import (
    InputError,
    count_words,
    decode_path,
    encode_path,
    field_for,
    text_files,
)


def test_the_text_files_of_a_tree(tmp_path: Path) -> None:
    make_nasty_tree(tmp_path)
    files = text_files(tmp_path)
    names = [os.fsencode(path.relative_to(tmp_path)) for path in files]
    assert len(names) == NASTY_FILES == len(set(names))
    assert {b"late-nul.txt", b"nul-at-8192.txt", b"not-utf-8-\xff.txt", b"empty.txt"} <= set(names)
    assert {b"binary.bin", b"nul-at-8191.bin", b"fifo", b"broken-link"}.isdisjoint(names)
    assert files == text_files(tmp_path), "the order is fixed"
    assert all(path.is_absolute() for path in files)


def test_the_words_of_a_tree(tmp_path: Path) -> None:
    words = make_nasty_tree(tmp_path)
    for path in text_files(tmp_path):
        words -= count_words(path)
    assert not words


def test_the_standard_library_is_the_default() -> None:
    files = text_files(None)
    root = Path(sysconfig.get_paths()["stdlib"])
    assert root.absolute() / "json" / "decoder.py" in files
    assert {path.suffix for path in files} == {".py"}
    assert not any("site-packages" in path.relative_to(root.absolute()).parts for path in files)


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    assert text_files(Path("a.txt")) == text_files(Path()) == [tmp_path / "a.txt"]


def unreadable_file(folder: Path) -> Path:
    """A regular file that cannot be read, by root either, where there is one."""
    path = Path("/proc/self/mem")
    if path.exists():
        return path
    path = folder / "closed.txt"
    path.touch(mode=0)
    assert not stat.S_IMODE(path.stat().st_mode)
    return path


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = unreadable_file(tmp_path)
    with pytest.raises(InputError, match=rf"{path} cannot be read: ."):
        text_files(path)


def test_a_folder_that_goes_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda path: True)
    with pytest.raises(InputError, match="gone cannot be read: No such file"):
        text_files(tmp_path / "gone")


@pytest.mark.parametrize("name", [b"a b.txt", b"%41.txt", b"\xff\xfe", "ü.txt".encode(), b"a\nb"])
def test_any_path_travels_as_json(name: bytes) -> None:
    path = Path(os.fsdecode(b"/folder/" + name))
    encoded = encode_path(path)
    assert encoded.isascii()
    assert decode_path(encoded) == path


def test_a_word_is_its_field() -> None:
    assert field_for("größe") == "größe"
    assert field_for("x" * 250) == "x" * 250


def test_a_word_too_long_for_a_field_has_one_of_its_own() -> None:
    words = ["中" * 250, "中" * 251, "中" * 252, "中" * 251 + "x", "x" * 5000]
    fields = [field_for(word) for word in words]
    assert len(set(fields)) == len(fields)
    assert all("#" in field for field in fields[1:])
    with MemSync("longest_fields") as mem:
        mem.patch({"$inc": {f"counts.{field}": 1 for field in fields}})
        assert mem.snapshot() == {"counts": dict.fromkeys(fields, 1)}
