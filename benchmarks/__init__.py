"""Measurements that compare several ways of doing one thing.

Run `python -m benchmarks.NAME` in the repository's root.
"""

import sys

from utils import interruption

if sys.argv[0] == "-m":  # Python runs one of these files, and does not just import it
    interruption.begin()
