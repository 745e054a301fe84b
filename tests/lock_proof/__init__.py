"""Rounds of kills, freezes and stops of processes that take turns with one named lock.

See ``python -m tests.lock_proof --help``; `checker` judges, `proof` plays.
"""
