"""What is told of running runs: pieces of their logs, points of their curves. A convenience, kept for some days."""
