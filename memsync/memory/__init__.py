"""An engine inside one process: handles share an object without files, sockets or threads."""
