"""Long proofs of saving, each with a short version in the tests: python -m tests.storage NAME."""
