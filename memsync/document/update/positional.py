"""Paths that depend on the document: ``$``, ``$[]`` and ``$[identifier]`` become concrete.

The trie of the plan is walked beside the document, in the server's order, and lazily: what an
earlier step refuses is reported before a later path turns out to be impossible.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..failures import failure
from ..order import type_name
from ..paths import Parts, array_index
from ..query.array_filters import Filters
from ..query.conditions import Found
from ..query.query import parse_query
from ..traversal import MISSING
from ..values import normalize
from .plan import Node, Plan, Step


def expand(plan: Plan, document: Any, filters: Filters, filter: Any) -> Iterator[Step]:
    """The steps of a dynamic plan at their concrete paths. Raises `UpdateError`."""
    return _Expansion(document, filters, filter).walk(plan.trie(), document, ())


class _Expansion:
    def __init__(self, document: Any, filters: Filters, filter: Any) -> None:
        self.document = document
        self.filters = filters
        self.filter = filter

    def walk(self, node: Node, value: Any, path: Parts) -> Iterator[Step]:
        if node.step is not None:
            yield node.step if node.step.parts == path else node.step.at(path)
        elif node.filtered:
            yield from self._walk_elements(node, value, path)
        else:
            for part, child in self._fields(node, path):
                yield from self.walk(child, _child(value, part), (*path, part))

    def _walk_elements(self, node: Node, value: Any, path: Parts) -> Iterator[Step]:
        shown = ".".join(path)
        if value is MISSING:
            raise failure(
                "array_path_missing",
                f"the path {shown!r} must exist in the document to update its elements",
                shown,
            )
        if not isinstance(value, list):
            raise failure(
                "not_array",
                f"the elements of {shown!r} cannot be updated: it is {type_name(value)}, "
                "not an array",
                shown,
            )
        # All elements are matched before any is updated.
        matched = [
            (str(index), item, self._matching(node, item))
            for index, item in enumerate(list.__iter__(value))
        ]
        for index, item, children in matched:
            if children:
                place = (*path, index)
                yield from self.walk(_merge_all(children, place), item, place)

    def _matching(self, node: Node, item: Any) -> list[Node]:
        children = []
        for part, child in node.ordered():
            identifier = part[2:-1]
            if not identifier or self.filters[identifier]({identifier: item}):
                children.append(child)
        return children

    def _fields(self, node: Node, path: Parts) -> list[tuple[str, Node]]:
        """The children in processing order, ``$`` among them at the index it stands for."""
        if "$" not in node.children:
            return list(node.ordered())
        index = self._position(path)
        merged = Node(None)
        merged.children = {part: child for part, child in node.children.items() if part != "$"}
        positional = node.children["$"]
        if index in merged.children:
            place = (*path, index)
            merged.children[index] = _merge_all([positional, merged.children[index]], place)
        else:
            merged.children[index] = positional
        return list(merged.ordered())

    def _position(self, path: Parts) -> str:
        """The index at which the filter matched an array: the last one, whichever array that is."""
        found: Found = []
        if self.filter is not None:
            parse_query(normalize(self.filter))(self.document, found)
        if found:
            return str(found[-1])
        shown = ".".join((*path, "$"))
        raise failure(
            "positional_no_match",
            f"the positional operator in {shown!r} found no match: the filter must match an "
            "element of the array",
            shown,
        )


def _child(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return dict.get(value, part, MISSING)
    if isinstance(value, list):
        index = array_index(part)
        if index is not None and index < len(value):
            return value[index]
    return MISSING


def _merge_all(nodes: list[Node], path: Parts) -> Node:
    """One node for all that applies to the same place. Raises where two want the same of it."""
    merged = nodes[0]
    for node in nodes[1:]:
        merged = _merge(merged, node, path)
    return merged


def _merge(left: Node, right: Node, path: Parts) -> Node:
    if not left.children or not right.children or left.filtered != right.filtered:
        shown = ".".join(path)
        raise failure("path_conflict", f"the update creates a conflict at {shown!r}", shown)
    merged = Node(None, left.filtered)
    merged.children = dict(left.children)
    for part, child in right.children.items():
        known = merged.children.get(part)
        place = (*path, part)
        merged.children[part] = child if known is None else _merge(known, child, place)
    return merged
