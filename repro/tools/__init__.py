"""Programs of their own, started by `python -m repro.tools.NAME`."""
