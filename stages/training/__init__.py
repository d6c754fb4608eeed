"""What `train` is made of: its options, steps, optimiser and state."""
