"""One module for each command: ``run(arguments, out)``."""
