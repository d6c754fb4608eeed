"""What a training is made of: its options, its steps, the optimiser, and the state that a checkpoint keeps."""
