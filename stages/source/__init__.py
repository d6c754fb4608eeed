"""A stage's code, read without importing it: which keys it knows, where it lies, what it depends on."""
