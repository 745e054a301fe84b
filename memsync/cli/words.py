"""What is counted: which files are text, and which words are in them."""

from __future__ import annotations

import hashlib
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

BINARY_SAMPLE = 8192  # bytes in which a NUL means that a file is no text
LONGEST_FIELD = 250  # characters, at most 1,000 bytes of the 1 KiB that a field's name may have

_WORD = re.compile(r"\w+")


class InputError(Exception):
    """What was given to count cannot be read."""


def text_files(path: Path | None) -> list[Path]:
    """The text files under a path, or those of the standard library.

    Raises `InputError` when the path is neither a file nor a folder, or something cannot be read.
    """
    try:
        return [file for file in _files_of(path) if _is_text(file)]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error


def count_words(path: Path) -> Counter[str]:
    """How often each word is in a file; raises `OSError` when it cannot be read."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    return Counter(_WORD.findall(text.lower()))


def field_for(word: str) -> str:
    """The name of a word's field: the word, or, where it is too long, its beginning and a digest.

    A word has no ``#``, so no other word has that field.
    """
    if len(word) <= LONGEST_FIELD:
        return word
    digest = hashlib.sha256(word.encode()).hexdigest()
    return f"{word[: LONGEST_FIELD - 65]}#{digest}"


def encode_path(path: Path) -> str:
    """A path as JSON can hold it: file names are bytes, and not all of them are UTF-8."""
    return quote_from_bytes(os.fsencode(path))


def decode_path(encoded: str) -> Path:
    """The path that `encode_path` encoded.

    >>> decode_path(encode_path(Path("a b/ü.txt")))
    PosixPath('a b/ü.txt')
    """
    return Path(os.fsdecode(unquote_to_bytes(encoded)))


def _files_of(path: Path | None) -> Iterable[Path]:
    if path is None:
        return _standard_library()
    if path.is_dir():
        return _files_under(path)
    if path.is_file():
        return [path.absolute()]
    found = "is neither a file nor a folder" if path.exists() else "does not exist"
    raise InputError(f"{path} {found}: name what is to be counted")


def _standard_library() -> Iterator[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in _files_under(root):
        if path.suffix == ".py" and "site-packages" not in path.relative_to(root).parts:
            yield path


def _files_under(root: Path) -> Iterator[Path]:
    """All regular files, in a fixed order; links to folders are not followed."""
    for folder, subfolders, names in os.walk(root.absolute(), onerror=_fail):
        subfolders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file():
                yield path


def _fail(error: OSError) -> None:
    raise error


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            return b"\0" not in file.read(BINARY_SAMPLE)
        except OSError as error:
            error.filename = str(path)  # a failing read does not know it
            raise
