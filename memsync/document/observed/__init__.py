"""What observers need to know of a document: which places were read, and which have changed."""
