"""``python -m benchmarks``."""

import sys

if __name__ == "__main__":  # the processes that it starts import this module, too
    from .cli import main

    sys.exit(main())
