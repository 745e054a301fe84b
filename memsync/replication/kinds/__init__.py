"""The kinds of entries, one file each, registered here.

To add a kind, write its file with a subclass of `state.Kind`, add an instance to `_ALL`, and raise
``PROTOCOL`` in ``manager/transport/messages.py``, because peers without the kind cannot follow. A
module beside ``handle.py`` proposes the kind's entries and listens to them. CONTRIBUTING.md has an
example.
"""

from __future__ import annotations

from ..state import Kind, Kinds
from .epoch import EpochKind
from .event import EventKind
from .lock import LockKind
from .member import MemberKind
from .method import MethodKind
from .patch import PatchKind
from .presence import PresenceKind

_ALL: tuple[Kind, ...] = (
    PatchKind(),
    MemberKind(),
    EpochKind(),
    EventKind(),
    PresenceKind(),
    MethodKind(),
    LockKind(),
)

KINDS: Kinds = {kind.name: kind for kind in _ALL}
"""Every kind, by its name in entries."""
