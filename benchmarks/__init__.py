"""What is fast, measured against the raw limit and against peers. Ratios within one run, never in a timed test."""
