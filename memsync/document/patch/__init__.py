"""RFC 6902 patches: checking them, trying them on an overlay, finding the shortest one."""
