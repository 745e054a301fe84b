"""The report of a run: text, a Markdown table, and charts."""
