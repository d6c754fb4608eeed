"""The queue as submitters and workers meet it: submission, and every question that is asked of it."""
