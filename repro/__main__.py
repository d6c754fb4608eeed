"""`python -m repro`: the same as `repro`."""

from repro.main import main

main()
