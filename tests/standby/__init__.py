"""The writers' mutex with real processes: see `run` (``python -m tests.standby``)."""
