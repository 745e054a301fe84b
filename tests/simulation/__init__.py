"""A whole group in one thread: the real code on a virtual platform, with faults, from one seed.

Run it alone with ``python -m tests.simulation --seed 7 --seeds 100``.
"""
