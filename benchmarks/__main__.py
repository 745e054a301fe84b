"""``python -m benchmarks``."""

import sys

if __name__ == "__main__":  # the processes that it starts import this module, too
    from .cli import main

    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # what shells report for Ctrl-C
