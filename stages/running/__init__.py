"""How a run is executed, with a queue or without: determinism, ranks, checkpoints, what a stage may touch."""
