"""Tools over configs: compare, vary, cross, and tell which are near each other. Pure: no file, no queue."""
