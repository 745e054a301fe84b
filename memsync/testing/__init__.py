"""For tests of programs that use memsync: a folder of their own, peers that can be killed.

With pytest these come as the fixtures ``memsync``, ``memsync_folder`` and ``memsync_cluster``
(docs/testing.md). Nothing here needs pytest.
"""

from .cluster import NAME, Cluster
from .conditions import PATIENCE, until
from .peer import Peer, PeerDied
from .private_folder import private_folder

__all__ = ["NAME", "PATIENCE", "Cluster", "Peer", "PeerDied", "private_folder", "until"]
