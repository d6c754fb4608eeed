"""Images: reading and packing them, the stream of batches, the networks and the model on disk."""
