"""Looking back in journals: commands, restored files, and campaigns (`python -m tests.journal`)."""
