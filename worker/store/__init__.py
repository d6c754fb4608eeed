"""Results in the store, inputs in this machine's cache, checkpoints between attempts."""
