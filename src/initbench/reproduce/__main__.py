"""python -m initbench.reproduce."""

import sys

from initbench.reproduce import main

if __name__ == "__main__":
    sys.exit(main())
