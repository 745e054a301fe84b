"""RFC 6902 patches: checking, dry runs on an overlay, and short diffs."""
