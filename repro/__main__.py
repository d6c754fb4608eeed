"""`python -m repro`: the same as `repro`."""

import os
import sys

# As in `scripts/repro`; here the current folder is on the path, too.
named = [sys.path[0], *map(os.path.abspath, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))]
sys.path[:] = sorted(sys.path, key=named.__contains__)

from repro.cli import main  # noqa: E402

main()
