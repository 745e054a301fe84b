"""Text in the cells of a terminal: its width, and no character that moves the cursor."""

from __future__ import annotations

from unicodedata import combining, east_asian_width


def plain(text: str) -> str:
    """The text with escapes for what cannot be printed, as a line break or a colour.

    >>> plain("two" + chr(10) + "lines")
    'two\\\\nlines'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def width(text: str) -> int:
    """How many cells a text takes.

    >>> width("tea"), width("日本")
    (3, 4)
    """
    return len(text) if text.isascii() else sum(map(_cells, text))


def cut(text: str, most: int) -> str:
    """The start of a text that fits into `most` cells.

    >>> cut("日本語", 5)
    '日本'
    """
    if text.isascii():
        return text[:most]
    used = 0
    for position, each in enumerate(text):
        used += _cells(each)
        if used > most:
            return text[:position]
    return text


def padded(text: str, cells: int) -> str:
    """The text with spaces up to a width."""
    return text + " " * (cells - width(text))


def _cells(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
