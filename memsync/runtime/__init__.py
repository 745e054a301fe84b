"""Threads and futures around the pure core: writing, waiting, callbacks; no socket and no file."""
