"""Completion: what may stand where the cursor is. Nothing is founded, started or changed.

The scripts call ``memsync __complete WORD...`` with the words up to the cursor, of which the last
one is incomplete, and get one candidate per line. Errors are silent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .table import COMMANDS, JSON, Argument, Command

_PATIENCE = 0.15  # seconds that a host has to answer

BASH = """\
_memsync() {
    local each gap rest=$COMP_LINE last=${COMP_WORDS[COMP_CWORD]} words=() n=-1
    # bash splits words at colons as well, and puts a reply behind the last of them.
    for each in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        gap=${rest%%"$each"*} rest=${rest#*"$each"}
        [[ -z $each || -n $gap || n -lt 0 ]] && n=$((n + 1))
        words[n]+=$each
    done
    [[ -z ${last//["$COMP_WORDBREAKS"]/} ]] && last=
    COMPREPLY=()
    while IFS= read -r each; do
        each=${each#"${words[n]%"$last"}"}
        [[ -n $each ]] && COMPREPLY+=("$(printf %q "$each")")
    done < <(memsync __complete "${words[@]:1}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace
    return 0
}
complete -F _memsync memsync
"""
ZSH = """\
#compdef memsync
_memsync() {
    local -a found
    found=("${(@f)$(memsync __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -S '' -- ${(M)found:#*/}
    compadd -- ${found:#*/}
}
compdef _memsync memsync
"""
FISH = """\
function __memsync_complete
    set -l words (commandline -opc) (commandline -ct)
    memsync __complete $words[2..-1] 2>/dev/null
end
complete -c memsync -f -a '(__memsync_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def complete(words: Sequence[str]) -> int:
    """Print the candidates for the last word."""
    *before, prefix = words or [""]
    try:
        found = [each for each in candidates(before, prefix) if each.startswith(prefix)]
        found = [each for each in found if each.isprintable()]  # a line break is no part of a word
    except Exception:  # a prompt must not show a traceback
        return 1
    for each in found:
        print(each)
    return 0


def candidates(before: Sequence[str], prefix: str) -> Iterable[str]:
    """What may stand after these words."""
    if not before:
        return [*COMMANDS, "--version", "--help"] if prefix[:1] == "-" else COMMANDS
    name, *words = before
    command = COMMANDS.get(name)
    if command is None or (command.runs and "--" in words):
        return ()
    expected, places, stated = _expected(command, words)
    if expected is None and prefix.startswith("-"):
        options = [each for each in (*command.arguments, JSON) if each.is_option]
        return [flag for each in options for flag in each.flags]
    argument = expected or next(places, None)
    if argument is None:
        return ()
    if "choices" in argument.options:
        return [str(each) for each in argument.options["choices"]]
    found = _SOURCES.get(argument.completes)
    return () if found is None else found(stated[0] if stated else "", prefix)


def _expected(
    command: Command, words: list[str]
) -> tuple[Argument | None, Iterator[Argument], list[str]]:
    """The option whose value comes next, if one does; the places that are free, and the others."""
    stated: list[str] = []
    options = {flag: each for each in (*command.arguments, JSON) for flag in each.flags}
    places = iter([each for each in command.arguments if not each.is_option])
    awaited: Argument | None = None
    for word in words:
        if awaited is not None:
            awaited = None
        elif word in options and options[word].is_option:
            awaited = options[word] if options[word].takes_value else None
        elif not word.startswith("-"):
            stated.append(word)
            next(places, None)
    return awaited, places, stated


def _names(name: str, prefix: str) -> Iterable[str]:
    from ..manager.folder.survey import seen_objects

    return [seen.name for seen in seen_objects()]


def _ask(name: str, **question: Any) -> dict[str, Any]:
    from ..manager.folder.survey import read_key, seen_objects
    from ..manager.transport.dial import inspect

    host = next(seen_objects(name)).host
    assert host is not None
    return inspect(host.address, read_key(), question, timeout=_PATIENCE)


def _paths(name: str, prefix: str) -> Iterable[str]:
    above = prefix.rpartition(".")[0]
    fields = _ask(name, about="fields", path=above)["fields"]
    names = [field for field in fields if field and "." not in field]  # no path leads to others
    return [f"{above}.{name}" if above else name for name in names]


def _methods(name: str, prefix: str) -> Iterable[str]:
    status = _ask(name, about="status")
    methods = {method for each in status["members"] for method in each["methods"]}
    return sorted(methods | set(status["published"]))


def _peers(name: str, prefix: str) -> Iterable[str]:
    return [member["id"] for member in _ask(name, about="status")["members"]]


def _locks(name: str, prefix: str) -> Iterable[str]:
    return list(_ask(name, about="status")["locks"])


def _files(name: str, prefix: str) -> Iterable[str]:
    folder, _, _ = prefix.rpartition("/")
    start = f"{folder}/" if folder or prefix.startswith("/") else ""
    return [
        f"{start}{each.name}{'/' if each.is_dir() else ''}" for each in os.scandir(start or ".")
    ]


def _commands(name: str, prefix: str) -> Iterable[str]:
    return COMMANDS


_SOURCES: dict[str, Callable[[str, str], Iterable[str]]] = {
    "commands": _commands,
    "files": _files,
    "locks": _locks,
    "methods": _methods,
    "names": _names,
    "paths": _paths,
    "peers": _peers,
}
"""By the word in the table; each gets the name of the object and the incomplete word."""
