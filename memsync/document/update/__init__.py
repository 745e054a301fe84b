"""MongoDB's update operators, compiled to RFC 6902 operations."""
