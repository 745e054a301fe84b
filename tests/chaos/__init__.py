"""Chaos with real processes: signals, stops, joins and deletions under writing, from seeds.

``python -m tests.chaos`` runs it alone. What happens is drawn from the seed; when exactly, is up to
the platform, so a seed is a likely, not a certain replay.
"""
