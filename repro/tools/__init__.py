"""Programs for `python -m repro.tools.NAME`: the demo, its digits, the pages of commands, the set-up of servers."""
