"""Images: read by mask, packed, streamed and augmented; the networks that learn from them, and their plots."""
