"""Every benchmark, one after the other: `make bench`."""

import subprocess
import sys

for name in ("cli", "noop", "queue", "packing", "dataset", "stream", "tools", "shipping"):
    print(f"\n== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
