"""What a run computes, from its config alone. Knows no queue, no MongoDB, no object store."""
