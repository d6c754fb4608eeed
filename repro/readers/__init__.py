"""What is read for the fronts: the configs and runs that a user names, curves, logs, ends of runs."""
