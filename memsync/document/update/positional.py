"""Positional operators: ``$``, ``$[]`` and ``$[identifier]`` are expanded to concrete paths.

The expansion walks the trie of the plan alongside the document, in the server's order. It is lazy:
an error of an earlier step is reported before a later path turns out to be impossible.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..failures import failure
from ..order import type_name
from ..paths import Parts, array_index
from ..query.array_filters import Filters
from ..query.conditions import MatchedIndexes
from ..query.query import parse_query
from ..traversal import MISSING
from ..values import normalize
from .plan import Plan, Step, TrieNode


def expand(plan: Plan, document: Any, filters: Filters, filter: Any) -> Iterator[Step]:
    """Yield the steps of a dynamic plan at their concrete paths. Raises `UpdateError`."""
    return _Expansion(document, filters, filter).walk(plan.trie(), document, ())


class _Expansion:
    def __init__(self, document: Any, filters: Filters, filter: Any) -> None:
        self.document = document
        self.filters = filters
        self.filter = filter

    def walk(self, node: TrieNode, value: Any, path: Parts) -> Iterator[Step]:
        if node.step is not None:
            yield node.step if node.step.parts == path else node.step.at(path)
        elif node.filtered:
            yield from self._walk_elements(node, value, path)
        else:
            for part, child in self._fields(node, path):
                yield from self.walk(child, _child(value, part), (*path, part))

    def _walk_elements(self, node: TrieNode, value: Any, path: Parts) -> Iterator[Step]:
        dotted = ".".join(path)
        if value is MISSING:
            raise failure(
                "array_path_missing",
                f"the path {dotted!r} must exist in the document to update its elements",
                dotted,
            )
        if not isinstance(value, list):
            raise failure(
                "not_array",
                f"the elements of {dotted!r} cannot be updated: it is {type_name(value)}, "
                "not an array",
                dotted,
            )
        # Match all elements before updating any of them.
        matched = [
            (str(index), item, self._matching(node, item))
            for index, item in enumerate(list.__iter__(value))
        ]
        for index, item, children in matched:
            if children:
                inner = (*path, index)
                yield from self.walk(_merge_all(children, inner), item, inner)

    def _matching(self, node: TrieNode, item: Any) -> list[TrieNode]:
        children = []
        for part, child in node.ordered():
            identifier = part[2:-1]
            if not identifier or self.filters[identifier]({identifier: item}):
                children.append(child)
        return children

    def _fields(self, node: TrieNode, path: Parts) -> list[tuple[str, TrieNode]]:
        """Return the children in processing order, with ``$`` at the index it stands for."""
        if "$" not in node.children:
            return list(node.ordered())
        index = self._position(path)
        merged = TrieNode(None)
        merged.children = {part: child for part, child in node.children.items() if part != "$"}
        positional = node.children["$"]
        if index in merged.children:
            inner = (*path, index)
            merged.children[index] = _merge_all([positional, merged.children[index]], inner)
        else:
            merged.children[index] = positional
        return list(merged.ordered())

    def _position(self, path: Parts) -> str:
        """Return the index at which the filter matched an array: the last match, in any array."""
        matched: MatchedIndexes = []
        if self.filter is not None:
            parse_query(normalize(self.filter))(self.document, matched)
        if matched:
            return str(matched[-1])
        dotted = ".".join((*path, "$"))
        raise failure(
            "positional_no_match",
            f"the positional operator in {dotted!r} found no match: the filter must match an "
            "element of the array",
            dotted,
        )


def _child(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return dict.get(value, part, MISSING)
    if isinstance(value, list):
        index = array_index(part)
        if index is not None and index < len(value):
            return value[index]
    return MISSING


def _merge_all(nodes: list[TrieNode], path: Parts) -> TrieNode:
    """Merge all nodes for the same place. Raises if two of them change the same part of it."""
    merged = nodes[0]
    for node in nodes[1:]:
        merged = _merge(merged, node, path)
    return merged


def _merge(left: TrieNode, right: TrieNode, path: Parts) -> TrieNode:
    if not left.children or not right.children or left.filtered != right.filtered:
        dotted = ".".join(path)
        raise failure("path_conflict", f"the update creates a conflict at {dotted!r}", dotted)
    merged = TrieNode(None, left.filtered)
    merged.children = dict(left.children)
    for part, child in right.children.items():
        known = merged.children.get(part)
        inner = (*path, part)
        merged.children[part] = child if known is None else _merge(known, child, inner)
    return merged
