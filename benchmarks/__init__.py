"""Side-by-side measurements that anyone can run: `python -m benchmarks.NAME` in the repository's
root.
"""

import sys

from utils import interruption

if sys.argv[0] == "-m":  # Python is about to run one of these files, not to import it
    interruption.begin()
