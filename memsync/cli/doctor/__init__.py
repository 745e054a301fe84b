"""``memsync doctor``: the folder, the host, its peers, stale files, and why a peer has no host.

`collect` reads facts into plain dicts, `checks` derives findings from them, `report` prints both.
"""
