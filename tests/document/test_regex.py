r"""``$regex`` in tables: what PCRE matches and `re` would not, and what is refused by name."""

from __future__ import annotations

import contextlib
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.document import matches
from memsync.document.query.regex import compile_pattern
from memsync.errors import UpdateError

# pattern, options, texts that match, texts that do not
TABLE: list[tuple[str, str, list[str], list[str]]] = [
    (r"^\d+$", "", ["12", "12\n"], ["\u0661\u0662", "1a", "12\n\n"]),
    (r"^\D$", "", ["\u0661", "a"], ["1"]),
    (r"^\w+$", "", ["aZ_9"], ["ä", "", "a b"]),
    (r"^\W$", "", ["ä", "-"], ["a", "_"]),
    (r"^\s$", "", [" ", "\x0b", "\t"], ["\xa0", "\x1c", "\x85"]),
    (r"^\S$", "", ["\xa0", "\x1c"], [" "]),
    (r"\bb", "", ["äb", "b", "a b"], ["ab", "_b"]),
    (r"a\Bb", "", ["ab"], ["a b"]),
    (r"\B", "", ["", "ab"], ["a"]),
    (r"ä", "i", ["Ä", "ä"], ["a"]),
    (r"^\w$", "i", ["K", "k"], ["\u212a", "\u017f"]),
    (r"^[\wä]$", "", ["ä", "b"], ["Ä", "ö"]),
    (r"^[^\w]$", "", ["ä", "-"], ["a"]),
    (r"^[\d-]+$", "", ["1-2"], ["a"]),
    (r"^[\D]$", "i", ["k", "\u212a", "\u0661"], ["1"]),
    (r"^[[:alpha:]]+$", "", ["aZ"], ["ä", "1", ":"]),
    (r"^[[:digit:][:space:]x]+$", "", ["1 x"], ["a", "["]),
    (r"^[^[:upper:]]+$", "", ["ab-"], ["aB"]),
    (r"^[[:upper:]]+$", "i", ["ab"], ["1", "\u212a"]),
    (r"^[[:punct:]]+$", "", ["!/:@[\\]^_`{|}~-"], ["a", " "]),
    (r"^[[:xdigit:]_[:blank:]]+$", "", ["fF0_\t"], ["g"]),
    (r"^[[:a]+$", "", ["[:a"], ["b"]),
    (r"^[]a]+$", "", ["]a"], ["b"]),
    (r"^[^]a]+$", "", ["b"], ["]"]),
    (r"^[a-c-]+$", "", ["a-b"], ["d"]),
    (r"^[a&&b||c~~d[[]+$", "", ["&|~[abcd"], ["e"]),
    (r"^[\]\\\-\x41-\x{43}\e\b]+$", "", ["]\\-ABC\x1b\x08"], ["D"]),
    (r"^[\h\v]+$", "", ["\t\xa0\n\u2028"], ["a"]),
    (r"a\z", "", ["a"], ["a\n"]),
    (r"a\Z", "", ["a", "a\n"], ["a\n\n"]),
    (r"\Aa", "m", ["a"], ["b\na"]),
    (r"^$", "m", ["", "a\n\nb", "\n"], ["a\n", "a"]),
    (r"^a$", "m", ["b\na\nc"], ["ba"]),
    (r"^\h\H$", "", ["\xa0a", " b"], ["a "]),
    (r"^\v\V$", "", ["\u2028a"], ["aa"]),
    (r"^a\Rb$", "", ["a\r\nb", "a\nb", "a\u2028b"], ["ab", "a\n\nb"]),
    (r"^a\Nb$", "s", ["axb"], ["a\nb"]),
    (r"^\Qa.b*\E+$", "", ["a.b*", "a.b**"], ["axb"]),
    (r"^\Qa.(", "", ["a.("], ["ab("]),
    (r"a\Eb", "", ["ab"], ["a"]),
    (r"^(?<x>a|b)\k<x>$", "", ["aa", "bb"], ["ab"]),
    (r"^(?'x'a|b)\k'x'\k{x}\g{x}(?P=x)$", "", ["aaaaa"], ["aaaab"]),
    (r"^(a)(b)\g1\g{2}\1$", "", ["ababa"], ["abab"]),
    (r"^(a)?(?(1)b|c)$", "", ["ab", "c"], ["ac"]),
    (r"a{,2}b", "", ["a{,2}b"], ["aab"]),
    (r"^a{1,2}b$", "", ["aab"], ["aaab"]),
    (r"^(?>a+)b$", "", ["aab"], ["aa"]),
    (r"(?i)^a", "", ["A"], ["b"]),
    (r"^(?i:a)b(?-i:c)$", "", ["Abc"], ["ABc"]),
    (r"a(?#comment)b", "", ["ab"], ["a"]),
    ("a b # \\d ( [ comment\n c \\# [#]", "x", ["abc##"], ["abc"]),
    ("a # to the end", "x", ["a"], ["b"]),
    (r"^(?=a)(?!b)(?<=)(?<!x)a", "", ["a"], ["b"]),
    (r"^\x41\x{1F600}\012\/\-\t$", "", ["A😀\n/-\t"], ["A"]),
    (r"^\é$", "", ["é"], ["e"]),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "options", "holds", "fails"), TABLE)
def test_patterns_match_as_in_pcre(
    pattern: str, options: str, holds: list[str], fails: list[str]
) -> None:
    condition = {"$regex": pattern, "$options": options}
    for text in holds:
        assert matches({"a": text}, {"a": condition}), text
    for text in fails:
        assert not matches({"a": text}, {"a": condition}), text


REFUSED = [
    r"\p{L}", r"\P{L}", r"\X", r"\C", r"\K", r"\G", r"\u0041", r"\U", r"\L", r"\N{U+41}",
    r"\o{101}", r"[\101]", r"\cA", r"\x4", r"\x{110000}", r"\x{d800}", r"\123456", r"\j",
    "a\\", r"[\p{L}]", r"[\Qa\E]",
    r"[a-\d]", r"[[:^alpha:]]", r"[[:nothing:]]", r"[[.a.]]", r"[[=a=]]", "[a", "[", "(?R)", "(?1)",
    "(?&x)", "(?P>x)", "(?|a|b)", "(?C1)", "(?x)a", "(?a)a", "(?L)a", "(?m)a", "(?U)a", "(?J)a",
    "(*UCP)a", "(?#a", r"\g{-1}", r"\g<1>", "(?^i)a",
]  # fmt: skip


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_re_cannot_do_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(UpdateError, match="needs what is not supported: ") as caught:
        matches({"a": "x"}, {"a": {"$regex": pattern}})
    assert caught.value.server_code == 51091


@pytest.mark.parametrize("pattern", [r"[\wä]", r"(?i)[[:alpha:]ä]"])
def test_case_of_other_letters_beside_classes_of_ascii_is_refused(pattern: str) -> None:
    with pytest.raises(UpdateError, match="together with other letters"):
        compile_pattern(pattern, "i")


@pytest.mark.parametrize(
    "pattern", ["a(?i)b", "(?<x", "(", "a{2,1}", "[b-a]", "*", r"(a)\2", "(?-i)a"]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UpdateError) as caught:
        compile_pattern(pattern, "")
    assert caught.value.server_code == 51091


def test_repetitions_are_found_behind_translation() -> None:
    for pattern in (r"(\d+)+", r"(?<x>\w*)*", r"(?:[[:alpha:]]+)+"):
        with pytest.raises(UpdateError, match="repeats a group that repeats"):
            compile_pattern(pattern, "")
    assert compile_pattern(r"\Q(a+)+\E(\d)+", "").search("(a+)+7")


@given(st.text(r"ab[]^-&|~\dwQE(){},?*+:.$<>=!#i1 ", max_size=12), st.sampled_from(["", "i", "mx"]))
def test_no_pattern_makes_python_warn(pattern: str, options: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(UpdateError):
            compile_pattern(pattern, options).search("ab[&&]-- ~~ ||")
