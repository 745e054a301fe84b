"""Read sets and write sets: which places a write depends on and changes."""
