r"""Translation of PCRE patterns, which MongoDB's server uses, to the syntax of Python's `re`.

Syntax that both share is kept. Syntax that differs is translated to the same meaning; for example,
``\d \w \s \b`` match ASCII only. A construct that `re` lacks, or gives another meaning, is refused
by name, so no pattern silently matches something else.
"""

from __future__ import annotations

import re

from ...lasting import lasting


@lasting
class UnsupportedError(Exception):
    """A PCRE construct that has no counterpart in `re`."""


_HORIZONTAL = r"\t \xa0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000"
_VERTICAL = r"\n\x0b\f\r\x85\u2028\u2029"

# Escapes outside classes. (?a:...) makes its content ASCII-only, whatever the surrounding flags.
_ESCAPES = {
    **{name: rf"(?a:\{name})" for name in "dDwWsSb"},
    "B": r"(?a:(?!\b))",  # \B in `re` does not match the empty string
    "A": r"\A",
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "h": f"[{_HORIZONTAL}]",
    "H": f"[^{_HORIZONTAL}]",
    "v": f"[{_VERTICAL}]",
    "V": f"[^{_VERTICAL}]",
    "N": r"[^\n]",
    "R": rf"(?>\r\n|[{_VERTICAL}])",
    "E": "",
}
# Escapes that stand for one character, inside and outside classes.
_CHARACTERS = {"a": r"\x07", "e": r"\x1b", "f": r"\f", "n": r"\n", "r": r"\r", "t": r"\t"}
_IN_CLASS = {**{name: rf"\{name}" for name in "dDwWsS"}, "h": _HORIZONTAL, "v": _VERTICAL}
_POSIX = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "ascii": r"\x00-\x7f", "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f", "digit": "0-9", "graph": r"\x21-\x7e", "lower": "a-z",
    "print": r"\x20-\x7e", "punct": r"!-/:-@\[-`{-\x7e", "space": r"\s", "upper": "A-Z",
    "word": r"\w", "xdigit": "0-9a-fA-F",
}  # fmt: skip

_QUOTED = re.compile(r"\\Q(.*?)(?:\\E|\Z)", re.DOTALL)
_HEX = re.compile(r"\\x(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{2}))")
_OCTAL = re.compile(r"\\(0[0-7]{0,2})")
_REFERENCE = re.compile(r"\\(?:([1-9][0-9]?)(?![0-9])|g([1-9][0-9]?)(?![0-9])|g\{([1-9][0-9]?)\})")
_NAMED_REFERENCE = re.compile(r"\\(?:k(?:<(\w+)>|'(\w+)'|\{(\w+)\})|g\{([A-Za-z_]\w*)\})", re.ASCII)
_NAMED_GROUP = re.compile(r"\(\?(?:P?<|')([A-Za-z_]\w*)[>']", re.ASCII)
_GROUP = re.compile(
    r"\((?:\?(?:[:=!>]|<[=!]|#|P=\w+\)|[is]*(?:-[is]+)?[:)]|\([1-9][0-9]?\)))?", re.ASCII
)
_CASELESS = re.compile(r"\(\?s?i")
_POSIX_CLASS = re.compile(r"\[:(\^?)(\w+):\]")
_LITERAL_BRACE = re.compile(r"\{(?=,\d*\})")


def translate(pattern: str, options: str = "") -> str:
    r"""Translate `pattern`, used with `options`, for `re`. Raises `UnsupportedError`.

    >>> print(translate(r"^\d+\z"))
    ^(?a:\d)+\Z
    """
    return _Translator(pattern, options).run()


class _Translator:
    def __init__(self, pattern: str, options: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.verbose = "x" in options
        self.multiline = "m" in options
        self.caseless = "i" in options or _CASELESS.search(pattern) is not None

    def run(self) -> str:
        parts = []
        while self.at < len(self.pattern):
            parts.append(self._next())
        return "".join(parts)

    def _take(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        """Match at the current position and advance past the match."""
        match = expression.match(self.pattern, self.at)
        if match is not None:
            self.at = match.end()
        return match

    def _next(self) -> str:
        character = self.pattern[self.at]
        if character == "\\":
            return self._escape()
        if character == "[":
            return self._class()
        if character == "(":
            return self._group()
        if self._take(_LITERAL_BRACE):
            return r"\{"  # {,3} is not a quantifier in PCRE
        if character == "^" and self.multiline:
            self.at += 1
            return r"(?:\A|(?<=\n)(?!\Z))"  # but not after a newline that ends the text
        if character == "#" and self.verbose:
            start = self.at
            end = self.pattern.find("\n", start)
            self.at = len(self.pattern) if end < 0 else end
            return ""
        self.at += 1
        return character

    def _escape(self) -> str:
        if quoted := self._take(_QUOTED):
            return re.escape(quoted[1])
        if reference := self._take(_NAMED_REFERENCE):
            return f"(?P={reference[reference.lastindex or 0]})"
        if reference := self._take(_REFERENCE):
            return rf"(?:\{reference[reference.lastindex or 0]})"
        name = self.pattern[self.at + 1 : self.at + 2]
        if name in _ESCAPES and not self.pattern.startswith(r"\N{", self.at):
            self.at += 2
            return _ESCAPES[name]
        return self._character()

    def _character(self) -> str:
        """Translate an escape that stands for one character."""
        if match := self._take(_HEX):
            return _escaped(int(match[1] or match[2], 16))
        if match := self._take(_OCTAL):
            return _escaped(int(match[1], 8))
        name = self.pattern[self.at + 1 : self.at + 2]
        if name in _CHARACTERS:
            self.at += 2
            return _CHARACTERS[name]
        if not name or (name.isascii() and name.isalnum()):
            raise UnsupportedError(f"\\{name}")
        self.at += 2
        return _escaped(ord(name))

    def _group(self) -> str:
        if match := self._take(_NAMED_GROUP):
            return f"(?P<{match[1]}>"
        match = self._take(_GROUP)
        text = match[0] if match else ""
        if text == "(?#":
            end = self.pattern.find(")", self.at)
            if end < 0:
                raise UnsupportedError("(?# without an end")
            self.at = end + 1
            return ""
        if text == "(" and self.pattern[self.at : self.at + 1] in ("?", "*"):
            raise UnsupportedError(self.pattern[self.at - 1 : self.at + 2])
        return text

    def _class(self) -> str:
        """Translate a bracketed class; escape all that `re` may come to read as a set operator."""
        self.at += 1
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        items: list[str] = []
        ascii_only = False
        first = True
        while first or not self.pattern.startswith("]", self.at):
            if self.at >= len(self.pattern):
                raise UnsupportedError("[ without an end")
            first = False
            item, is_set = self._class_item()
            ascii_only = ascii_only or is_set
            if not is_set and self._is_range():
                self.at += 1
                end, end_is_set = self._class_item()
                if end_is_set:
                    raise UnsupportedError("a range that ends in a class")
                item = f"{item}-{end}"
            items.append(item)
        self.at += 1
        body = f"[{'^' if negated else ''}{''.join(items)}]"
        if not ascii_only:
            return body
        if self.caseless and not body.isascii():
            # Inside (?a:...) matching of non-ASCII letters would become case-sensitive.
            raise UnsupportedError(r"i, and a class of \w or such together with other letters")
        return f"(?a:{body})"

    def _is_range(self) -> bool:
        following = self.pattern[self.at : self.at + 2]
        return len(following) == 2 and following[0] == "-" and following[1] != "]"

    def _class_item(self) -> tuple[str, bool]:
        """Translate one member of a class; also return whether it is itself a set of characters."""
        if match := self._take(_POSIX_CLASS):
            if match[1] or match[2] not in _POSIX:
                raise UnsupportedError(match[0])
            return _POSIX[match[2]], True
        character = self.pattern[self.at]
        if character == "[" and self.pattern[self.at + 1 : self.at + 2] in (".", "="):
            raise UnsupportedError("collating elements")
        if character != "\\":
            self.at += 1
            return _escaped(ord(character)), False
        name = self.pattern[self.at + 1 : self.at + 2]
        if name in _IN_CLASS:
            self.at += 2
            return _IN_CLASS[name], True
        if name == "b":
            self.at += 2
            return r"\x08", False
        if name in ("Q", "E"):
            raise UnsupportedError(rf"\{name} in a class")
        return self._character(), False


def _escaped(code: int) -> str:
    """Escape one character so that it is literal everywhere; letters and digits stay readable."""
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise UnsupportedError(f"\\x{{{code:x}}}")
    character = chr(code)
    if character.isalnum() and character.isascii():
        return character
    return f"\\x{code:02x}" if code < 0x80 else character
