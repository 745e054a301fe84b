"""What a write reads and writes, judged without doing it."""
