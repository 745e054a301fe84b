"""``memsync doctor``: the folder, the host, its peers, stale files, and why a peer has no host.

`collect` gathers facts as plain dicts and changes nothing, `checks` turns facts into findings and
is pure, `report` prints findings for people or for programs.
"""
