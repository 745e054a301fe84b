"""The commands that look back in the journal of a file."""
