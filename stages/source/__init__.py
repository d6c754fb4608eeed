"""The code of stages, read without importing it: where it lies, which keys it knows, which commit it is."""
