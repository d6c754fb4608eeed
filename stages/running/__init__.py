"""Executing a stage: determinism, what it is watched for, checkpoints, ranks, and a run without any queue."""
