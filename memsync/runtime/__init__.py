"""Threads and futures around the pure core: writing, waiting, callbacks. No sockets, no files."""
