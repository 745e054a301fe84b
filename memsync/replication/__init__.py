"""The pure core: ordering, replaying, recovering; no I/O, no clock, no thread, no chance."""
