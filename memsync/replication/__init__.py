"""The pure core of replication: ordering, replaying, recovering; no I/O, clock, thread or chance."""
