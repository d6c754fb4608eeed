"""What is to run: every read and every write of a run document, and the tools over configs."""
