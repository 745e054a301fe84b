"""Longer measurements of memsync alone, each a program of its own."""
