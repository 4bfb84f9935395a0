"""Becomes another program on one core: ``python -m tests.benchmarks.pinned CORE COMMAND …``."""

import os
import sys

from tests.benchmarks.processes import pin_to

if __name__ == "__main__":
    pin_to(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
