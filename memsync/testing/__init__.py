"""Tools for tests of programs that use memsync: a private folder, and peers that can be killed.

pytest has them as the fixtures ``memsync``, ``memsync_folder`` and ``memsync_cluster``
(docs/testing.md); only ``pytest_plugin`` needs pytest. The names are imported at first use, because
pytest loads the plugin wherever memsync is installed.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .cluster import NAME, Cluster
    from .conditions import PATIENCE, until
    from .peer import Peer, PeerDied
    from .temporary_folder import private_folder

__all__ = ["NAME", "PATIENCE", "Cluster", "Peer", "PeerDied", "private_folder", "until"]

_MODULES = {
    "NAME": "cluster",
    "PATIENCE": "conditions",
    "Cluster": "cluster",
    "Peer": "peer",
    "PeerDied": "peer",
    "private_folder": "temporary_folder",
    "until": "conditions",
}

if not TYPE_CHECKING:  # a type checker that sees __getattr__ accepts every name
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
