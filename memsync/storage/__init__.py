"""The object outside its processes: files and object stores. Only the host uses this package."""
