"""The rules of structure: each function returns the offenders, one string for each.

An offender is named by its file or module, never by a line number or a count, so that its name
stays the same while the code around it changes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from .package_reader import Package


def modules_in_circles(package: Package) -> set[str]:
    """Modules that import each other in a circle, type-only and late imports counted."""
    return package.in_circles()


def long_files(package: Package, most: int) -> set[str]:
    return {
        module.relative
        for module in package.modules.values()
        if len(module.source.splitlines()) > most
    }


def large_classes(package: Package, most: int) -> set[str]:
    """Classes with more methods than `most`, properties included."""
    return {
        f"{module.relative}: {node.name}"
        for module in package.modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and len(_methods(node)) > most
    }


def _methods(node: ast.ClassDef) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in node.body if isinstance(each, functions)}  # overloads count once


def tuning_constants(package: Package, part: str, except_in: str, allowed: Set[str]) -> set[str]:
    """Constants of a part that are numbers, or tuples of numbers, outside one of its files.

    `allowed` are the names of constants that may stand anywhere.
    """
    return {
        f"{module.relative}: {name}"
        for module in package.modules.values()
        if module.part == part and module.relative != f"{part}/{except_in}"
        for name in _numbers(module.tree)
        if name not in allowed
    }


def decimal_numbers(package: Package, part: str, except_in: str, allowed: Set[float]) -> set[str]:
    """Decimal fractions in the code of a part, outside one of its files: they are tuned by hand."""
    return {
        f"{module.relative}: {node.value}"
        for module in package.modules.values()
        if module.part == part and module.relative != f"{part}/{except_in}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, float)
        if node.value not in allowed
    }


def _numbers(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        if _is_number(value):
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand)
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    if isinstance(node, ast.Tuple | ast.List):
        return bool(node.elts) and all(map(_is_number, node.elts))
    return False


def imports_against_the_layers(
    package: Package, layers: Sequence[Set[str]], independent: Set[str]
) -> set[str]:
    """Imports from a later layer, and imports between two parts that are to be independent.

    Other parts of one layer may import each other. A part that is in no layer is an offender.
    """
    rank = {part: number for number, parts in enumerate(layers) for part in parts}
    offenders = set()
    for module in package.modules.values():
        if module.part not in rank:
            offenders.add(f"{module.name} is in no layer")
            continue
        for found in module.imports:
            target = package.imported(found)
            if target is None:
                continue
            part = package.modules[target].part
            is_between = part != module.part and {part, module.part} <= independent
            if is_between or rank.get(part, 0) > rank[module.part]:
                offenders.add(f"{module.name} imports {target}")
    return offenders


def places_of(pattern: str, files: Mapping[str, Path]) -> list[str]:
    """Where a pattern occurs in the files, in small or capital letters."""
    return [
        f"{name}:{number}"
        for name, path in files.items()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line, re.IGNORECASE)
    ]


def filters_in_blocks(package: Package) -> set[str]:
    """Modules with a comprehension that has a condition inside of a ``with`` or ``try`` block.

    On CPython 3.12, an exception of a signal handler in its loop skips the end of the block, so a
    lock stays locked. In a function of its own it does no harm, and where errors are suppressed
    there is nothing to end.
    """
    return {
        module.name
        for module in package.modules.values()
        for block in ast.walk(module.tree)
        if isinstance(block, ast.With | ast.Try) and not _is_suppression(block)
        for statement in block.body
        for node in _in_this_function(statement)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp)
        and any(each.ifs for each in node.generators)
    }


def _is_suppression(block: ast.With | ast.Try) -> bool:
    if isinstance(block, ast.Try):
        return not block.finalbody
    return all("suppress(" in ast.unparse(item.context_expr) for item in block.items)


def _in_this_function(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what is in it, but not in a function in it."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.GeneratorExp):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _in_this_function(child)
