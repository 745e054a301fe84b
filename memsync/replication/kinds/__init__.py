"""The kinds of entries, one file each, registered here.

To add a kind: write its file, with a class that overrides what `state.Kind` does by default; add
an instance to `KINDS`; raise ``PROTOCOL`` in ``manager/messages.py``, because peers that do not
know the kind cannot follow. A face above the engine (a module beside ``handle.py``) proposes the
kind's entries and listens to them. CONTRIBUTING.md walks through an example.
"""

from __future__ import annotations

from ..state import Kind, Kinds
from .epoch import EpochKind
from .member import MemberKind
from .patch import PatchKind

_ALL: tuple[Kind, ...] = (PatchKind(), MemberKind(), EpochKind())

KINDS: Kinds = {kind.name: kind for kind in _ALL}
"""Every kind, by the name that entries carry."""
